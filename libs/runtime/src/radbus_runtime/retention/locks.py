"""The lock of a study: while it is purged nothing of it can be touched, so that what arrives is refused.

Whoever stores an instance touches its study last, and accepts it only if it could (docs/decisions/0012).
"""

from __future__ import annotations

from typing import Final

import structlog
from radbus_contracts.identity import record_id
from radbus_storage import records
from radbus_storage.documents import Document, Documents, Index
from radbus_storage.errors import AlreadyThereError

from radbus_runtime.retention.order import Plan, What

log = structlog.get_logger(__name__)

_LOCKED: Final[Document] = {"purge": {"$gt": ""}}
LOCK_INDEX: Final = Index((("purge", 1),), only_where=_LOCKED)
"""Of `studies` and `series`: what is locked now, by which purge."""
_FREED: Final = {"$unset": {"purge": "", "disturbed": ""}}


class StudyLock:
    """Takes a study with its series for one purge, and gives back what is left of them."""

    def __init__(self, documents: Documents, institution: str, study_instance_uid: str, purge_id: str) -> None:
        self._documents = documents
        self._studies = documents[records.STUDIES]
        self._series = documents[records.SERIES]
        self._of_study = {"institution": institution, "study_instance_uid": study_instance_uid}
        self._id = record_id(institution, study_instance_uid)
        self._purge_id = purge_id
        self._mine = {"_id": self._id, "purge": purge_id}

    async def take(self) -> bool:
        """Lock the study, unless instances of it are coming in or another purge has it."""
        free = {"state": {"$ne": "receiving"}, "purge": {"$in": [None, self._purge_id]}}
        locked = {"$set": {"purge": self._purge_id}}
        if not await self._studies.update({"_id": self._id, **free}, locked) and not await self._make():
            return False
        await self._series.update_many({**self._of_study, **free}, locked)
        others = {**self._of_study, "purge": {"$ne": self._purge_id}}
        if await self._series.find_one(others, only={"_id": 1}) is None:
            return True
        await self.release()
        return False

    async def is_held(self) -> bool:
        """Say whether this purge has the study."""
        return await self._studies.find_one(self._mine, only={"_id": 1}) is not None

    async def release(self) -> None:
        """Give back a study of which nothing was erased."""
        await self._free_series()
        await self._studies.update(self._mine, _FREED)
        await self._forget_empty()

    async def calm(self) -> None:
        """Forget that somebody wanted to touch the study: all of it is looked at again from here on."""
        await self._studies.update(self._mine, {"$unset": {"disturbed": ""}})

    async def settle(self, plan: Plan) -> bool:
        """Give back what is left of the study; False when somebody wanted to touch it meanwhile: look once more."""
        undisturbed = {**self._mine, "disturbed": {"$ne": True}}
        if What.RECORDS in plan.order.what and plan.whole_study:
            # Its series are gone already, and it goes last: until then nothing of it can arrive.
            return await self._studies.delete(undisturbed) > 0 or not await self.is_held()
        # The study first, then its series: what is refused in between comes again.
        change = {"$set": {"series_digest": "", "look_at": None}, **_FREED}
        if not await self._studies.update(undisturbed, change) and await self.is_held():
            return False
        await self._free_series()
        await self._forget_empty()
        return True

    async def _make(self) -> bool:
        """Make a record to be locked: there may be instances of a study that nobody has touched, whose storer died."""
        record: Document = {
            "_id": self._id,
            **self._of_study,
            "state": "complete",
            "purge": self._purge_id,
            "touches": 0,
            "quiet_at": await self._documents.now(),
            "revision": 0,
            "series_instance_uids": [],
            "series_digest": "",
            "source": {},
            "outbox": [],
        }
        try:
            await self._studies.insert(record)
        except AlreadyThereError:
            return False
        return True

    async def _free_series(self) -> None:
        await self._series.update_many({**self._of_study, "purge": self._purge_id}, {"$unset": {"purge": ""}})

    async def _forget_empty(self) -> None:
        """Remove the record that was made only to be locked."""
        await self._studies.delete({"_id": self._id, "touches": 0, "purge": None})


async def release_forgotten(documents: Documents) -> None:
    """Give back what is locked by purges that are open no more.

    A backup has a study as it was while it was purged, and the purge, which it copies later, as it ended.
    """
    for name in (records.SERIES, records.STUDIES):
        lockers = await documents[name].distinct("purge", _LOCKED)
        # A purge is open from before it locks until after it has given back: what is not by now never is.
        is_open = await documents[records.PURGES].distinct("_id", {"_id": {"$in": lockers}, "open": True})
        for purge_id in set(lockers) - set(is_open):
            only = {"institution": 1, "study_instance_uid": 1}
            if found := await documents[name].find_one({"purge": purge_id}, only=only):
                log.warning("purge.lock_forgotten", purge_id=purge_id, institution=found["institution"])
                await StudyLock(documents, found["institution"], found["study_instance_uid"], purge_id).release()
