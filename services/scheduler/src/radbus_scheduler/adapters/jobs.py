"""The collection `jobs`: reading a job with the server's time, and changing it by compare-and-set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from radbus_runtime.cursors import Place
from radbus_runtime.events import Outgoing
from radbus_runtime.outbox import OUTBOX_INDEX
from radbus_storage.documents import NOW, Collection, Index
from radbus_storage.errors import AlreadyThereError

from radbus_scheduler.adapters.job_documents import changing_fields, job_document, job_of
from radbus_scheduler.domain.job import Job, JobState

_ACTIVE: Final = {"state": JobState.ACTIVE.value}

JOB_INDEXES: Final = (
    OUTBOX_INDEX,
    # Ready tasks by pool, urgency and institution, oldest job first; and all that is in flight.
    Index(
        (
            ("tasks.state", 1),
            ("tasks.pool", 1),
            ("priority", 1),
            ("institution", 1),
            ("requested_at", 1),
            ("tasks.not_before", 1),
        ),
        only_where=_ACTIVE,
    ),
    Index((("finish_by", 1),), only_where=_ACTIVE),
    Index((("institution", 1), ("subject_uid", 1), ("use_case", 1), ("revision", -1))),
    Index((("institution", 1), ("study_instance_uid", 1))),  # what is known of a study, when it is to be purged
    Index((("institution", 1), ("requested_at", -1), ("_id", -1))),
    Index((("institution", 1), ("state", 1), ("requested_at", -1), ("_id", -1))),
)


@dataclass(frozen=True, slots=True)
class Held:
    """A job as it was read, with its version and the server's time at that moment."""

    job: Job
    version: int
    now: datetime


@dataclass(frozen=True, slots=True)
class PageOf:
    """Which jobs of an institution to list: newest first, after a place in that order."""

    state: JobState | None
    use_case: str | None
    after: Place | None
    limit: int


class Jobs:
    """Jobs by their id."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    async def add(self, job: Job, messages: Sequence[Outgoing]) -> bool:
        """Write a new job with what is to be told of it; say whether it was new."""
        outbox = [message.document() for message in messages]
        try:
            await self.collection.insert({**job_document(job), "version": 1, "outbox": outbox})
        except AlreadyThereError:
            return False
        return True

    async def hold(self, job_id: str) -> Held | None:
        """Read a job to be changed."""
        found = await self.collection.aggregate([{"$match": {"_id": job_id}}, {"$set": {"now": NOW}}], limit=1)
        return Held(job_of(found[0]), found[0]["version"], found[0]["now"]) if found else None

    async def change(self, held: Held, after: Job, messages: Sequence[Outgoing]) -> bool:
        """Write what became of a job, and what is to be told of it, unless it has changed since it was read."""
        return await self.collection.update(
            {"_id": held.job.id, "version": held.version},
            {
                "$set": changing_fields(after),
                "$inc": {"version": 1},
                "$push": {"outbox": {"$each": [message.document() for message in messages]}},
            },
        )

    async def of_institution(self, institution: str, job_id: str) -> Job | None:
        """Read one job of an institution."""
        found = await self.collection.find_one({"_id": job_id, "institution": institution})
        return job_of(found) if found else None

    async def page(self, institution: str, wanted: PageOf) -> list[Job]:
        """List jobs of an institution."""
        where: dict[str, object] = {"institution": institution}
        if wanted.state is not None:
            where["state"] = wanted.state.value
        if wanted.use_case is not None:
            where["use_case"] = wanted.use_case
        if wanted.after is not None:
            at = wanted.after.at
            where["$or"] = [{"requested_at": {"$lt": at}}, {"requested_at": at, "_id": {"$lt": wanted.after.id}}]
            where["requested_at"] = {"$lte": at}
        sort = (("requested_at", -1), ("_id", -1))
        return [job_of(found) for found in await self.collection.find(where, limit=wanted.limit, sort=sort)]

    async def superseded_beside(self, job: Job) -> tuple[int, list[str]]:
        """Find the newest revision of a job's use case and subject, and the active jobs of older ones."""
        same = {"institution": job.institution, "subject_uid": job.subject_uid, "use_case": job.use_case}
        newest = await self.collection.find(same, limit=1, sort=(("revision", -1),), only={"revision": 1})
        revision = max([job.revision, *(found["revision"] for found in newest)])
        older = await self.collection.find(
            {**same, **_ACTIVE, "revision": {"$lt": revision}}, limit=100, only={"_id": 1}
        )
        return revision, [found["_id"] for found in older]

    async def past_deadline(self, now: datetime, *, limit: int) -> list[str]:
        """Find active jobs whose deadline has passed."""
        found = await self.collection.find({**_ACTIVE, "finish_by": {"$lte": now}}, limit=limit, only={"_id": 1})
        return [document["_id"] for document in found]
