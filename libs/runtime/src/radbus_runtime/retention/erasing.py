"""The erasing itself: objects, then the records that name them, then a look whether anything is left.

Every step may be begun again from its start. The object goes before its record, so that after a crash the record still
tells of it; who reads meanwhile is told that it is erased, since that is marked before the first byte goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from radbus_contracts.errors import TransientError
from radbus_contracts.identity import record_id
from radbus_storage import records
from radbus_storage.documents import NOW, Document, Documents
from radbus_storage.objects import ObjectEntry

from radbus_runtime.retention.order import Gone, Kind, Plan, What
from radbus_runtime.retention.purges import Claim
from radbus_runtime.retention.reading import below

_PAGE: Final = 100
_AT_A_TIME: Final = 8
_LISTED: Final = 1000
# An object is put before its record is written. One without a record that is younger may yet get it.
STRAY_AFTER: Final = timedelta(minutes=15)
_MARKED: Final = {"erased_at": {"$ifNull": ["$erased_at", NOW]}}
_OUTCOME: Final[Document] = {
    "summary": "",
    "impression": "",
    "values": {},
    "measurements": [],
    "sites": [],
    "findings": [],
    "limits": [],
    "remarks": [],
    "comparison": None,
    "inputs": {},
    "files": {},
}
_INFERENCE: Final[Document] = {
    **{name: value for name, value in _OUTCOME.items() if name not in {"sites", "remarks", "comparison"}},
    "comparisons": [],
    "outputs": {},
    "arrays": {},
    "triage_reason": None,
}


class Objects(Protocol):
    """The object store."""

    async def entries(self, prefix: str, *, limit: int) -> list[ObjectEntry]:
        """List objects below a prefix."""
        ...

    async def drop_uploads(self, prefix: str) -> int:
        """Remove the parts of uploads below a prefix that were not completed."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object and the parts of its uploads; none there is success."""
        ...


class LeftBehindError(TransientError):
    """Something is there still, or again, after everything was erased."""


class Eraser:
    """Erases what a plan names, of one institution."""

    def __init__(self, documents: Documents, objects: Objects, claim: Claim, plan: Plan) -> None:
        self._documents = documents
        self._objects = objects
        self._claim = claim
        self._plan = plan
        self._institution = plan.order.institution

    async def outputs(self) -> None:
        """Erase what jobs have made and found; the inference says from the start that it is erased."""
        for job in self._plan.jobs:
            await self._claim.hold()
            await self._of_job(job, [{"$set": _MARKED}])
        for job in self._plan.jobs:
            await self._derived(job)
            if What.RECORDS not in self._plan.order.what:
                await self._blank(job)

    async def inputs(self) -> None:
        """Erase instances, their archives and what of their headers stands in the records of series."""
        await self._instances()
        await self._strays()
        for prefix in self._plan.archive_prefixes:
            await self._below(prefix, "archives")
        if What.RECORDS not in self._plan.order.what:
            await self._blank_series()

    async def records(self) -> None:
        """Erase all that is recorded; the study goes with its lock, the purge itself stays.

        First where readers look: from then on it is unknown, before that it is erased.
        """
        for name, where in self._recorded():
            await self._delete(name, where)
        for job in self._plan.jobs:
            await self._delete(records.LEASES, {"_id": below(job.job_id)})
            await self._delete(records.OUTCOMES, self._own({"_id": below(job.job_id)}))
            await self._leave_others(job)
        if self._plan.order.kind is Kind.SERIES:
            of_study = self._own({"_id": record_id(self._institution, self._plan.order.study_instance_uid)})
            gone = {"$pull": {"series_instance_uids": self._plan.order.subject_uid}}
            await self._documents[records.STUDIES].update(of_study, gone)

    async def check(self, now: datetime) -> None:
        """Look whether anything is left.

        Raises:
            LeftBehindError: Something is; the text says what.
        """
        left = [name for name, there in [*await self._left_inputs(now), *await self._left_outputs()] if there]
        if What.RECORDS in self._plan.order.what:
            left += [name for name, where in self._recorded() if await self._documents[name].count(where, limit=1)]
        if left:
            raise LeftBehindError(f"there is still something of it: {', '.join(dict.fromkeys(left))}")

    async def _instances(self) -> None:
        instances = self._documents[records.INSTANCES]
        where = self._stored()
        while page := await instances.find(where, limit=_PAGE, only={"object_key": 1, "size_bytes": 1}):
            await self._delete_objects([each["object_key"] for each in page])
            gone = await instances.delete({"_id": {"$in": [each["_id"] for each in page]}})
            size_bytes = sum(each["size_bytes"] for each in page)
            await self._claim.note({}, counts={"instances": gone, "bytes": size_bytes})

    async def _strays(self) -> None:
        """Erase objects without a record: of instances that were refused, or whose storer died."""
        now = await self._documents.now()
        for prefix in self._plan.instance_prefixes:
            await self._objects.drop_uploads(prefix)
            strays = [entry.key for entry in await self._unrecorded(prefix) if entry.modified_at < now - STRAY_AFTER]
            await self._delete_objects(strays)
            await self._claim.note({}, counts={"strays": len(strays)} if strays else {})

    async def _unrecorded(self, prefix: str) -> list[ObjectEntry]:
        entries = await self._objects.entries(prefix, limit=_LISTED)
        ids = {entry.key: record_id(self._institution, _sop_instance_uid(entry.key)) for entry in entries}
        found = await self._documents[records.INSTANCES].find(
            {"_id": {"$in": list(ids.values())}}, limit=max(1, len(ids)), only={"object_key": 1}
        )
        recorded = {each["object_key"] for each in found}
        return [entry for entry in entries if entry.key not in recorded]

    async def _derived(self, job: Gone) -> None:
        # By their names too: of an upload that was cut, some stores tell only who knows its whole key.
        outcomes = await self._documents[records.OUTCOMES].find(
            self._own({"_id": below(job.job_id)}), limit=_LISTED, only={"files": 1}
        )
        keys = [key for each in outcomes for keys in (each.get("files") or {}).values() for key in keys]
        prefix = self._plan.derived_prefix(job.job_id)
        await self._delete_objects(dict.fromkeys(key for key in keys if key.startswith(prefix)))
        await self._below(prefix, "outputs", counted=len(keys))

    async def _below(self, prefix: str, what: str, *, counted: int = 0) -> None:
        await self._objects.drop_uploads(prefix)
        while entries := await self._objects.entries(prefix, limit=_LISTED):
            await self._delete_objects([entry.key for entry in entries])
            counted += len(entries)
        await self._claim.note({}, counts={what: counted} if counted else {})

    async def _of_job(self, job: Gone, change: Sequence[Document]) -> None:
        await self._documents[records.OUTCOMES].update_many(self._own({"_id": below(job.job_id)}), change)
        await self._documents[records.INFERENCES].update(self._own({"_id": job.id}), change)
        if self._plan.order.kind is Kind.RUN:
            await self._documents[records.RUNS].update(self._own({"_id": job.job_id}), change)

    async def _blank(self, job: Gone) -> None:
        """Take out of the records what was found: nobody can read it any more."""
        await self._documents[records.OUTCOMES].update_many(self._own({"_id": below(job.job_id)}), {"$set": _OUTCOME})
        await self._documents[records.INFERENCES].update(self._own({"_id": job.id}), {"$set": _INFERENCE})

    async def _blank_series(self) -> None:
        for uid in self._plan.series:
            await self._claim.hold()
            where = self._own({"series_instance_uid": uid})
            if await self._documents[records.INSTANCES].find_one(where, only={"_id": 1}) is not None:
                continue  # of another study with the same SeriesInstanceUID
            # Without its digest, the same instances sent again are the next revision.
            blank = {"state": "erased", "elements": {}, "all": {}, "instance_count": 0, "instances_digest": ""}
            of_study = {**where, "study_instance_uid": self._plan.order.study_instance_uid}
            await self._documents[records.SERIES].update_many(of_study, {"$set": blank})

    async def _leave_others(self, job: Gone) -> None:
        """Take a job out of the cases and decisions that stay, of series that it has seen too."""
        of_study = self._own({"study_instance_uid": self._plan.order.study_instance_uid})
        await self._documents[records.CASES].update_many(of_study, {"$unset": {f"jobs.{job.job_id}": ""}})
        await self._documents[records.ROUTINGS].update_many(of_study, {"$pull": {"job_ids": job.job_id}})

    def _recorded(self) -> list[tuple[str, Document]]:
        """Say where the records are that go by their own names, in the order in which they go."""
        order, uids = self._plan.order, [*self._plan.series, self._plan.order.subject_uid]
        jobs = self._own({"_id": {"$in": [job.job_id for job in self._plan.jobs]}})
        if order.kind is Kind.RUN:
            return [(records.RUNS, self._own({"_id": order.subject_uid})), (records.JOBS, jobs)]
        of_study = self._own({"study_instance_uid": order.study_instance_uid})
        these = of_study if self._plan.whole_study else {**of_study, "series_instance_uid": order.subject_uid}
        routed = of_study if self._plan.whole_study else {**of_study, "subject_uid": order.subject_uid}
        told = of_study if self._plan.whole_study else {**of_study, "series_instance_uids": order.subject_uid}
        return [
            (records.SERIES, these),
            (records.CASES, these),
            (records.INFERENCES, self._own({"_id": {"$in": [job.id for job in self._plan.jobs]}})),
            (records.DELIVERIES, told),
            (records.WISHES, self._own({"_id": {"$in": [record_id(self._institution, uid) for uid in uids]}})),
            (records.ROUTINGS, routed),
            (records.JOBS, jobs),
        ]

    async def _left_inputs(self, now: datetime) -> list[tuple[str, bool]]:
        if What.INPUTS not in self._plan.order.what:
            return []
        left = [("instances", await self._documents[records.INSTANCES].count(self._stored(), limit=1) > 0)]
        for prefix in self._plan.instance_prefixes:
            strays = await self._unrecorded(prefix)
            young = any(entry.modified_at >= now - STRAY_AFTER for entry in strays)
            told = "objects that may be of an instance being stored" if young else "objects of instances"
            left.append((told, bool(strays)))
        left += [("archives", bool(await self._objects.entries(each, limit=1))) for each in self._plan.archive_prefixes]
        return left

    async def _left_outputs(self) -> list[tuple[str, bool]]:
        prefixes = [self._plan.derived_prefix(job.job_id) for job in self._plan.jobs]
        return [("derived objects", bool(await self._objects.entries(prefix, limit=1))) for prefix in prefixes]

    def _stored(self) -> Document:
        of_study = self._own({"study_instance_uid": self._plan.order.study_instance_uid})
        return of_study if self._plan.whole_study else {**of_study, "series_instance_uid": self._plan.order.subject_uid}

    def _own(self, where: Document) -> Document:
        return {**where, "institution": self._institution}

    async def _delete(self, name: str, where: Document) -> None:
        await self._claim.hold()
        if gone := await self._documents[name].delete(where):
            await self._claim.note({}, counts={"records": gone})

    async def _delete_objects(self, keys: Iterable[str]) -> None:
        await _each(list(keys), self._delete_object)

    async def _delete_object(self, key: str) -> None:
        # Asked for each: whoever was stopped for a while must not erase what has come since.
        await self._claim.hold()
        await self._objects.delete(key)


async def _each(keys: Sequence[str], act: Callable[[str], Awaitable[Any]]) -> None:
    """Do it to each, a few at a time."""
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def one(key: str) -> None:
        async with slots:
            await act(key)

    results = await asyncio.gather(*(one(key) for key in keys), return_exceptions=True)
    for error in filter(None, results):
        if isinstance(error, BaseException):
            raise error


def _sop_instance_uid(key: str) -> str:
    """Read the UID out of `.../<SOPInstanceUID>.<digest>.dcm`."""
    return key.rsplit("/", 1)[-1].rsplit(".", 2)[0]
