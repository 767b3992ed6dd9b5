"""The collection `turns`: one replica at a time fills the free slots, so that two do not fill them twice."""

from __future__ import annotations

from uuid import uuid4

from radbus_storage.documents import NOW, Collection, after
from radbus_storage.errors import AlreadyThereError

_DISPATCH = "dispatch"
_LENGTH_S = 5.0


class DispatchTurn:
    """This replica's turn. Should it outlast its time, each claim of a task is still a compare-and-set."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._replica = str(uuid4())

    async def take(self) -> bool:
        """Take the turn, unless another replica has it."""
        free = {"$lt": ["$until", NOW]}  # also of the first, whose `until` is absent
        change = {
            "replica": {"$cond": [free, self._replica, "$replica"]},
            "until": {"$cond": [free, after(_LENGTH_S), "$until"]},
        }
        try:
            turn = await self._collection.update_and_get({"_id": _DISPATCH}, [{"$set": change}], upsert=True)
        except AlreadyThereError:
            return False
        return turn is not None and turn["replica"] == self._replica

    async def give_back(self) -> None:
        """Let another replica have the turn."""
        mine = {"_id": _DISPATCH, "replica": self._replica}
        await self._collection.update(mine, [{"$set": {"until": after(-0.001)}}])
