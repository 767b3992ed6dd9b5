"""`cases`: the read model, one document a series.

Each fact sets only its own part (`uploads.<revision>`, `unrouted.<revision>`, `jobs.<job id>.completed`), so the
document comes out the same whatever the order in which facts arrive, and however often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from radbus_contracts import identity
from radbus_contracts.envelope import Event
from radbus_contracts.facts import (
    JobCompletedV1,
    JobFailedV1,
    JobRequestedV1,
    JobRetriedV1,
    Scope,
    SeriesCompletedV1,
    SeriesUnroutedV1,
    TriageStatus,
)
from radbus_runtime.events import Outgoing
from radbus_runtime.outbox import OUTBOX_INDEX
from radbus_storage.documents import Collection, Document, Index
from radbus_storage.errors import AlreadyThereError

from radbus_results.domain.case import Case, Completed, Failed, JobEntry
from radbus_results.domain.inference import Inference

CASE_INDEXES = (Index((("institution", 1), ("study_instance_uid", 1))), OUTBOX_INDEX)
STUDY_LIMIT = 1000
JobFact = JobRequestedV1 | JobCompletedV1 | JobFailedV1 | JobRetriedV1


class Cases:
    """Records what the facts say of each series, and reads it back."""

    def __init__(self, cases: Collection) -> None:
        self.collection = cases

    async def record_series(self, event: Event[SeriesCompletedV1]) -> None:
        """Record that a revision of a series is complete."""
        fact = event.data
        upload = {"modality": fact.modality, "instance_count": fact.instance_count, "completed_at": event.time}
        await self._record(event, fact.series_instance_uid, {f"uploads.{fact.revision}": upload}, _revision(fact))

    async def record_unrouted(self, event: Event[SeriesUnroutedV1]) -> None:
        """Record why no use case is for a revision."""
        fact = event.data
        await self._record(event, fact.series_instance_uid, {f"unrouted.{fact.revision}": fact.reason}, _revision(fact))

    async def record_requested(self, event: Event[JobRequestedV1]) -> None:
        """Record a job in the case of each of its series."""
        part = {"title": event.data.title, "run": event.data.run, "requested_at": event.time}
        await self._record_job(event, part)

    async def record_completed(self, event: Event[JobCompletedV1], inference: Inference) -> None:
        """Record a job's result in the case of each of its series."""
        completed = {
            "inference_id": inference.id,
            "triage": inference.triage.value,
            "usable": inference.usable,
            "completed_at": inference.completed_at,
        }
        await self._record_job(event, {"completed": completed})

    async def record_failed(self, event: Event[JobFailedV1], message: Outgoing) -> str | None:
        """Record a job's failure, and in the same update what is to be told of it.

        Returns:
            The `_id` of the case that holds the message, or None when it was told before or a result is there.
        """
        fact = event.data
        failed = {
            "reason": fact.reason,
            "cancelled": fact.cancelled,
            "failed_at": event.time,
            "retries": fact.retries,
        }
        await self._record_job(event, {})
        for series_instance_uid in fact.series_instance_uids[1:]:
            where = _unended(event.institution, series_instance_uid, fact)
            await self.collection.update(where, {"$set": {f"jobs.{fact.job_id}.failed": failed}})
        first = identity.record_id(event.institution, fact.series_instance_uids[0])
        told = await self.collection.update(
            _unended(event.institution, fact.series_instance_uids[0], fact),
            {"$set": {f"jobs.{fact.job_id}.failed": failed}, "$push": {"outbox": message.document()}},
        )
        return first if told else None

    async def record_retried(self, event: Event[JobRetriedV1]) -> None:
        """Record that a job goes on in the case of each of its series: what it failed of before counts no more."""
        await self._record_job(event, {}, at_least={f"jobs.{event.data.job_id}.retries": event.data.retries})

    async def of_series(self, institution: str, series_instance_uid: str) -> Case | None:
        """Read the case of a series."""
        where = {"_id": identity.record_id(institution, series_instance_uid), "institution": institution}
        found = await self.collection.find_one(where)
        return None if found is None else _case(found)

    async def of_study(
        self, institution: str, study_instance_uid: str, series_instance_uids: Iterable[str]
    ) -> list[Case]:
        """Read the cases of a study's series; of these also where another study came first with the same UID."""
        ids = [identity.record_id(institution, uid) for uid in series_instance_uids]
        where = {"institution": institution, "$or": [{"study_instance_uid": study_instance_uid}, {"_id": {"$in": ids}}]}
        return [_case(found) for found in await self.collection.find(where, limit=STUDY_LIMIT)]

    async def _record_job(
        self, event: Event[Any], part: Mapping[str, object], *, at_least: Mapping[str, int] | None = None
    ) -> None:
        fact: JobFact = event.data
        whole_study = fact.subject_uid == fact.study_instance_uid
        entry = {
            "use_case": fact.use_case,
            "scope": Scope.STUDY.value if whole_study else Scope.SERIES.value,
            "revision": fact.revision,
            **part,
        }
        fields = {f"jobs.{fact.job_id}.{name}": value for name, value in entry.items()}
        for series_instance_uid in fact.series_instance_uids:
            # A study counts its revisions for itself: they say nothing of its series'.
            revision = 0 if whole_study else fact.revision
            await self._record(event, series_instance_uid, fields, {"revision": revision, **(at_least or {})})

    async def _record(
        self,
        event: Event[Any],
        series_instance_uid: str,
        fields: Mapping[str, object],
        at_least: Mapping[str, int],
    ) -> None:
        change = {
            "$set": fields,
            "$max": at_least,
            "$setOnInsert": {
                "institution": event.institution,
                "study_instance_uid": event.data.study_instance_uid,
                "series_instance_uid": series_instance_uid,
            },
        }
        where = {"_id": identity.record_id(event.institution, series_instance_uid)}
        try:
            await self.collection.update(where, change, upsert=True)
        except AlreadyThereError:  # another fact made the case in the same moment
            await self.collection.update(where, change)


def _revision(fact: SeriesCompletedV1 | SeriesUnroutedV1) -> dict[str, int]:
    return {"revision": fact.revision}


def _unended(institution: str, series_instance_uid: str, fact: JobFailedV1) -> Document:
    failed = f"jobs.{fact.job_id}.failed"
    again = {f"{failed}.retries": {"$not": {"$gte": fact.retries}}}
    return {
        "_id": identity.record_id(institution, series_instance_uid),
        f"jobs.{fact.job_id}.completed": {"$exists": False},
        **(again if fact.retries else {failed: {"$exists": False}}),
    }


def _case(found: Document) -> Case:
    return Case(
        study_instance_uid=found["study_instance_uid"],
        series_instance_uid=found["series_instance_uid"],
        revision=found["revision"],
        unrouted={int(revision): reason for revision, reason in found.get("unrouted", {}).items()},
        jobs=tuple(_entry(job_id, job) for job_id, job in found.get("jobs", {}).items()),
    )


def _entry(job_id: str, job: Mapping[str, Any]) -> JobEntry:
    completed, failed = job.get("completed"), job.get("failed")
    return JobEntry(
        job_id=job_id,
        use_case=job["use_case"],
        scope=Scope(job["scope"]),
        revision=job["revision"],
        run=job.get("run", 1),
        retries=job.get("retries", 0),
        requested_at=job.get("requested_at"),
        completed=Completed(**{**completed, "triage": TriageStatus(completed["triage"])}) if completed else None,
        failed=Failed(job_id=job_id, use_case=job["use_case"], **failed) if failed else None,
    )
