"""What results reads of the records that other services keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from radbus_contracts import identity
from radbus_contracts.errors import PermanentError, TransientError
from radbus_contracts.facts import JobCompletedV1
from radbus_runtime.patient_key import PatientKeys
from radbus_storage import records
from radbus_storage.documents import Document, Documents

from radbus_results.domain.case import Intake, OnRequest, Undecided, UnderProcess, Unrouted
from radbus_results.domain.inference import Context, Outcome

_STUDY_LIMIT = 1000
_STATE = {"state": 1, "revision": 1, "study_instance_uid": 1, "series_instance_uid": 1}
_DECIDED = {"job_ids": 1, "reason": 1, "decisions.matched": 1, "decisions.on_request": 1, "wishes_seen": 1}
_OUTCOME_FIELDS = (
    "summary",
    "impression",
    "usable",
    "values",
    "measurements",
    "findings",
    "inputs",
    "files",
    "comparison",
)


class OutcomeMissingError(TransientError):
    """A completed job names an outcome that cannot be read yet."""


class OutcomeErasedError(PermanentError):
    """A completed job names an outcome of which nothing is left: a result made of it would read as a negative one."""


class UidKind(StrEnum):
    """What a UID in a request turned out to be, in the words of the results API."""

    INSTANCE = "sopInstanceUID"
    SERIES = "SeriesInstanceUID"
    STUDY = "StudyInstanceUID"


@dataclass(frozen=True, slots=True)
class SeriesIntake:
    """A series' own record: which study it is of, and how far it has come."""

    study_instance_uid: str
    series_instance_uid: str
    intake: Intake


class OtherRecords:
    """Reads records of ingest, router, scheduler and workers; writes none."""

    def __init__(self, documents: Documents, patient_keys: PatientKeys | None = None) -> None:
        self._patient_keys = patient_keys
        self._documents = documents
        self._instances = documents[records.INSTANCES]
        self._series = documents[records.SERIES]
        self._studies = documents[records.STUDIES]
        self._routings = documents[records.ROUTINGS]
        self._jobs = documents[records.JOBS]
        self._outcomes = documents[records.OUTCOMES]

    async def outcomes(self, institution: str, job: JobCompletedV1) -> list[Outcome]:
        """Read the outcomes that a job used, in its order.

        Raises:
            OutcomeMissingError: One is not there.
            OutcomeErasedError: One was erased.
        """
        wanted = [each.outcome_id for each in job.outcomes]
        where = {"_id": {"$in": wanted}, "institution": institution}
        found = await self._outcomes.find(where, limit=max(1, len(wanted)), only={"outbox": 0})
        by_id = {each["_id"]: each for each in found}
        for outcome_id in wanted:
            if outcome_id not in by_id:
                raise OutcomeMissingError(f"expected an outcome {outcome_id}")
            if by_id[outcome_id].get("erased_at"):
                raise OutcomeErasedError(f"the outputs of {outcome_id} were erased")
        return [_outcome(each.task_id, by_id[each.outcome_id]) for each in job.outcomes]

    async def now(self) -> datetime:
        """Tell the database's time."""
        return await self._documents.now()

    async def context(self, institution: str, job: JobCompletedV1, *, completed_at: datetime) -> Context:
        """Read what belongs to a result and the fact of its job does not carry."""
        only = {"title": 1, "requested_at": 1, "accepted_at": 1, "retries": 1}
        record = await self._jobs.find_one({"_id": job.job_id, "institution": institution}, only=only) or {}
        where = {"_id": identity.record_id(institution, job.series_instance_uids[0]), "institution": institution}
        fields = {"elements.StudyDate": 1, "elements.StudyTime": 1, "elements.PatientID": 1}
        elements = (await self._series.find_one(where, only=fields) or {}).get("elements", {})
        date, time = elements.get("StudyDate"), elements.get("StudyTime")
        return Context(
            institution=institution,
            completed_at=completed_at,
            requested_at=record.get("requested_at") or completed_at,
            title=record.get("title"),
            study_date=str(date) if date else None,
            study_time=str(time) if time else None,
            patient_key=self._patient_key(institution, elements.get("PatientID")),
            waited_since=None if record.get("retries") else record.get("accepted_at") or record.get("requested_at"),
        )

    def _patient_key(self, institution: str, patient_id: object) -> str | None:
        return None if self._patient_keys is None else self._patient_keys.of_element(institution, patient_id)

    async def series(self, institution: str, series_instance_uid: str) -> SeriesIntake | None:
        """Read a series' record."""
        where = {"_id": identity.record_id(institution, series_instance_uid), "institution": institution}
        found = await self._series.find_one(where, only=_STATE)
        return None if found is None else _series_intake(found)

    async def series_of_instance(self, institution: str, sop_instance_uid: str) -> SeriesIntake | None:
        """Read the record of the series that an instance is of; one just being stored is received."""
        where = {"_id": identity.record_id(institution, sop_instance_uid), "institution": institution}
        found = await self._instances.find_one(where, only={"study_instance_uid": 1, "series_instance_uid": 1})
        if found is None:
            return None
        uid = found["series_instance_uid"]
        series = await self.series(institution, uid)
        return series or SeriesIntake(found["study_instance_uid"], uid, Intake(receiving=True))

    async def series_of_study(self, institution: str, study_instance_uid: str) -> list[SeriesIntake]:
        """Read the records of a study's series."""
        where = {"institution": institution, "study_instance_uid": study_instance_uid}
        found = await self._series.find(where, limit=_STUDY_LIMIT, only=_STATE)
        return [_series_intake(each) for each in found] or await self._series_of_other_study(institution, where)

    async def _series_of_other_study(self, institution: str, where: Document) -> list[SeriesIntake]:
        # Senders have used one SeriesInstanceUID in two studies: the series is recorded in that which came first.
        uids = await self._instances.distinct("series_instance_uid", where)
        found = [await self.series(institution, uid) for uid in uids[:_STUDY_LIMIT]]
        return [each for each in found if each is not None]

    async def study(self, institution: str, study_instance_uid: str) -> Intake | None:
        """Read a study's record."""
        where = {"_id": identity.record_id(institution, study_instance_uid), "institution": institution}
        found = await self._studies.find_one(where, only=_STATE)
        return None if found is None else _intake(found)

    async def decide(self, institution: str, standing: Undecided) -> OnRequest | Unrouted | UnderProcess:
        """Ask the routing's record why a complete series has no job."""
        routing_id = f"{identity.record_id(institution, standing.series_instance_uid)}/{standing.revision}"
        where = {"_id": routing_id, "institution": institution}
        found = await self._routings.find_one(where, only=_DECIDED)
        return UnderProcess() if found is None else _decided(standing.series_instance_uid, found)

    async def decide_study(self, institution: str, study_instance_uid: str) -> OnRequest | UnderProcess | None:
        """Ask the newest routing of a study whether something is computed of it, or would be; None where not."""
        where = {"institution": institution, "subject_uid": study_instance_uid}
        newest = await self._routings.find(where, limit=1, sort=(("revision", -1),), only=_DECIDED)
        decided = _decided(study_instance_uid, newest[0]) if newest else None
        return None if isinstance(decided, Unrouted) else decided

    async def progress(self, institution: str, job_ids: Sequence[str]) -> list[float]:
        """Read how far jobs are, from 0 to 1 each; one that is not recorded yet is at 0."""
        where = {"_id": {"$in": list(job_ids)}, "institution": institution}
        only = {"tasks.state": 1, "tasks.progress": 1}
        return [_progress(each) for each in await self._jobs.find(where, limit=max(1, len(job_ids)), only=only)]


def _series_intake(found: Document) -> SeriesIntake:
    return SeriesIntake(found["study_instance_uid"], found["series_instance_uid"], _intake(found))


def _decided(uid: str, routing: Document) -> OnRequest | Unrouted | UnderProcess:
    if routing.get("job_ids") or not routing.get("wishes_seen", True):
        return UnderProcess()
    if any(each.get("matched") and each.get("on_request") for each in routing["decisions"]):
        return OnRequest(uid)
    return Unrouted(routing["reason"]) if routing.get("reason") else UnderProcess()


def _intake(found: Document) -> Intake:
    return Intake(receiving=found["state"] == "receiving", revision=found.get("revision", 0))


def _progress(job: Document) -> float:
    tasks = job.get("tasks") or []
    done = sum(1.0 if task["state"] == "succeeded" else float(task.get("progress") or 0) for task in tasks)
    return done / len(tasks) if tasks else 0.0


def _outcome(task_id: str, record: Mapping[str, Any]) -> Outcome:
    given = {name: record[name] for name in _OUTCOME_FIELDS if record.get(name) is not None}
    limits = [*(record.get("limits") or ()), *(record.get("remarks") or ())]
    return Outcome(task_id=task_id, machine=record.get("machine") or {}, limits=limits, **given)
