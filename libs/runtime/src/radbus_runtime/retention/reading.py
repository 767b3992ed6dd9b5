"""Reads the picture of a study or a run from the records of all services; writes none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from radbus_contracts.identity import RUN_USE_CASE, inference_id, record_id
from radbus_storage import records
from radbus_storage.documents import NOW, Document, Documents

from radbus_runtime.retention.picture import JobSeen, Picture, SeriesSeen

_LIMIT: Final = 10_000  # of one study
_OUTBOX: Final = {"outbox.id": 1}
_JOB: Final = {
    "institution": 1,
    "use_case": 1,
    "subject_uid": 1,
    "revision": 1,
    "series_instance_uids": 1,
    "requested_at": 1,
    "finished_at": 1,
    "state": 1,
    **_OUTBOX,
}
_ACTIVE: Final = "active"


class PictureReader:
    """Reads what is known of one study, or of one run."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def study(self, institution: str, study_instance_uid: str) -> Picture | None:
        """Read a study; None where there is neither a record of it nor an instance."""
        own = {"institution": institution, "study_instance_uid": study_instance_uid}
        study, stored, routings, jobs = await asyncio.gather(
            self._documents[records.STUDIES].find_one({"_id": record_id(institution, study_instance_uid)}),
            self._documents[records.INSTANCES].distinct("series_instance_uid", own),
            self._all(
                records.ROUTINGS, own, {"subject_uid": 1, "revision": 1, "job_ids": 1, "decided_at": 1, **_OUTBOX}
            ),
            self._all(records.JOBS, own, _JOB),
        )
        series = await self._series(institution, own, stored)
        if study is None and not series and not jobs and not routings:
            return None
        told_of = await self._jobs(own, jobs)
        now = await self._documents.now()
        last_at = max((each["quiet_at"] for each in (study, *series) if each), default=now)
        routed = {(each["subject_uid"], each["revision"]) for each in routings}
        return Picture(
            institution=institution,
            study_instance_uid=study_instance_uid,
            last_at=min(last_at, now),
            series=tuple(_series_seen(each, routed) for each in series),
            jobs=(*told_of, *_asked_for(routings, {job.id for job in told_of})),
            receiving=study is not None and study["state"] == "receiving",
            untold=any(each.get("outbox") for each in (study or {}, *series, *routings, *jobs))
            or await self._untold(own),
        )

    async def run(self, institution: str, run_id: str) -> Picture | None:
        """Read a run of the inferencing API; None where it is unknown."""
        own = {"_id": run_id, "institution": institution}
        run = await self._documents[records.RUNS].find_one(own)
        if run is None:
            return None
        jobs = await self._all(records.JOBS, own, _JOB)
        ended_at = run.get("ended_at")
        return Picture(
            institution=institution,
            study_instance_uid="",
            last_at=ended_at or run["started_at"],
            jobs=tuple([await self._job(each, recorded=ended_at is not None) for each in jobs]),
            receiving=ended_at is None,  # its zip is erased by its owner, at its end
            untold=any(each.get("outbox") for each in (run, *jobs)),
            use_case=RUN_USE_CASE,
        )

    async def _series(self, institution: str, own: Document, stored: Sequence[str]) -> list[Document]:
        found = await self._all(
            records.SERIES, own, {"series_instance_uid": 1, "state": 1, "revision": 1, "quiet_at": 1, **_OUTBOX}
        )
        known = {each["series_instance_uid"] for each in found}
        # Senders have used one SeriesInstanceUID in two studies: it is recorded in that which came first.
        ids = [record_id(institution, uid) for uid in stored if uid not in known]
        return found + (await self._all(records.SERIES, {"_id": {"$in": ids}}, None) if ids else [])

    async def _jobs(self, own: Document, jobs: Sequence[Document]) -> list[JobSeen]:
        cases = await self._all(records.CASES, own, {"jobs": 1})
        inferred = await self._all(records.INFERENCES, own, {"_id": 1})
        ended = {job for case in cases for job, told in (case.get("jobs") or {}).items() if _has_ended(told)}
        ids = {each["_id"] for each in inferred}
        return [
            await self._job(each, recorded=each["_id"] in ended or inference_id(each["_id"]) in ids) for each in jobs
        ]

    async def _job(self, job: Document, *, recorded: bool) -> JobSeen:
        own = {"_id": below(job["_id"]), "institution": job["institution"]}
        outcomes = await self._all(records.OUTCOMES, own, {"erased_at": 1})
        active = job["state"] == _ACTIVE
        return JobSeen(
            id=job["_id"],
            use_case=job["use_case"],
            subject_uid=job["subject_uid"],
            revision=job["revision"],
            series_instance_uids=tuple(job["series_instance_uids"]),
            asked_at=job["requested_at"],
            ended_at=None if active else job.get("finished_at") or job["requested_at"],
            erased=all(each.get("erased_at") for each in outcomes),
            recorded=recorded,
            running=not active and await self._is_running(job["_id"], {each["_id"] for each in outcomes}),
        )

    async def _is_running(self, job_id: str, outcome_ids: set[str]) -> bool:
        """Say whether a worker holds the lease of an attempt that has no outcome yet: it may still write objects."""
        live = {"_id": below(job_id), "released": False, "$expr": {"$gt": ["$until", NOW]}}
        leases = await self._all(records.LEASES, live, {"attempt": 1})
        return any(f"{each['_id']}/{each['attempt']}" not in outcome_ids for each in leases)

    async def _untold(self, own: Document) -> bool:
        waiting = {**own, "outbox.at": {"$exists": True}}
        found = [
            await self._documents[name].find_one(waiting, only={"_id": 1})
            for name in (records.INFERENCES, records.CASES)
        ]
        return any(found)

    async def _all(self, name: str, where: Document, only: dict[str, int] | None) -> list[Document]:
        return await self._documents[name].find(where, limit=_LIMIT, only=only)


def below(job_id: str) -> dict[str, str]:
    """Say which ids are of a job's tasks and attempts: they begin with its own and a slash."""
    return {"$gte": f"{job_id}/", "$lt": f"{job_id}0"}  # "0" comes after "/"


def _series_seen(found: Document, routed: set[tuple[Any, Any]]) -> SeriesSeen:
    uid, revision = found["series_instance_uid"], found.get("revision", 0)
    return SeriesSeen(
        uid=uid,
        receiving=found["state"] == "receiving",
        erased=found["state"] == "erased",
        routed=revision == 0 or (uid, revision) in routed,
        last_at=found["quiet_at"],
    )


def _asked_for(routings: Iterable[Document], made: set[str]) -> list[JobSeen]:
    return [
        JobSeen(
            id=job_id,
            use_case=None,
            subject_uid=routing["subject_uid"],
            revision=routing["revision"],
            series_instance_uids=(),
            asked_at=routing["decided_at"],
            ended_at=None,
            erased=True,
        )
        for routing in routings
        for job_id in routing.get("job_ids") or ()
        if job_id not in made
    ]


def _has_ended(told: Document) -> bool:
    return bool(told.get("completed") or told.get("failed"))
