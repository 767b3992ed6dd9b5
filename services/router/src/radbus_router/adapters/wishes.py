"""`wishes`: that somebody asked for the computation of what may not be routed yet; kept for a day."""

from __future__ import annotations

from collections.abc import Sequence

from radbus_contracts.identity import record_id
from radbus_storage.documents import NOW, Collection, Index
from radbus_storage.errors import AlreadyThereError

_KEPT_S = 24 * 3600
WISH_INDEXES = (Index((("asked_at", 1),), expire_after_s=_KEPT_S),)


class Wishes:
    """Remembers who was asked for, by the UID of a series or study."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def keep(self, institution: str, uid: str) -> None:
        """Remember a wish from now on; one that is there is as if it were new."""
        change = [{"$set": {"institution": {"$literal": institution}, "asked_at": NOW}}]
        try:
            await self._collection.update({"_id": record_id(institution, uid)}, change, upsert=True)
        except AlreadyThereError:
            return  # another request has just made it

    async def is_there(self, institution: str, uids: Sequence[str]) -> bool:
        """Say whether one of these was asked for."""
        ids = [record_id(institution, uid) for uid in uids]
        where = {"_id": {"$in": ids}, "institution": institution}
        return await self._collection.find_one(where, only={"_id": 1}) is not None
