"""All that the stores have about one UID or id: read by indexes only, in bounded numbers, without header values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from radbus_contracts.identity import inference_id, outcome_id, record_id
from radbus_storage import records
from radbus_storage.documents import Document, Documents

from radbus_cli.audit_subjects import LIMIT, PURGES, Kind, Subject

_ATTEMPTS_LIMIT = 100
_OUTBOX = {"outbox.type": 1, "outbox.at": 1}
_SERIES = {
    **_OUTBOX,
    **dict.fromkeys(
        ("study_instance_uid", "series_instance_uid", "modality", "source.dialect", "state", "quiet_at", "revision"), 1
    ),
    "instance_count": 1,
}
_STUDY = {
    **_OUTBOX,
    **dict.fromkeys(("study_instance_uid", "state", "quiet_at", "revision", "series_instance_uids"), 1),
}
_INSTANCE = dict.fromkeys(("study_instance_uid", "series_instance_uid", "object_key", "size_bytes", "stored_at"), 1)
_ROUTING = {
    **_OUTBOX,
    **dict.fromkeys(("scope", "study_instance_uid", "subject_uid", "revision", "job_ids", "reason", "decided_at"), 1),
    **{
        f"decisions.{name}": 1
        for name in ("use_case", "version", "matched", "on_request", "runs", "conditions.name", "conditions.answer")
    },
}
_OUTCOME = {
    **_OUTBOX,
    **dict.fromkeys(("job_id", "task_id", "attempt", "worker", "succeeded", "reason", "usable", "files"), 1),
    **dict.fromkeys(("started_at", "finished_at", "erased_at"), 1),
}
_INFERENCE = {
    **_OUTBOX,
    **dict.fromkeys(("job_id", "use_case", "revision", "triage", "usable", "completed_at", "superseded_by"), 1),
    "erased_at": 1,
}
_DELIVERY = {
    **dict.fromkeys(("webhook_id", "event_id", "type", "job_id", "series_instance_uids"), 1),
    **dict.fromkeys(("state", "reason", "attempts", "asked_at", "ended_at"), 1),
}
_PURGE = dict.fromkeys(("kind", "what", "by_policy", "state", "asked_at", "finished_at"), 1)


@dataclass(slots=True, kw_only=True)
class Stored:
    """The instances of one series, summed up."""

    series: str
    study: str
    count: int
    size_bytes: int
    first_at: datetime
    last_at: datetime


@dataclass(slots=True, kw_only=True)
class Records:
    """What the documents say; `now` is their server's time."""

    subject: Subject
    now: datetime
    instance: Document | None = None
    stored: list[Stored] = field(default_factory=list)
    series: list[Document] = field(default_factory=list)
    studies: list[Document] = field(default_factory=list)
    wishes: list[Document] = field(default_factory=list)
    routings: list[Document] = field(default_factory=list)
    jobs: list[Document] = field(default_factory=list)
    leases: dict[str, Document] = field(default_factory=dict)
    outcomes: list[Document] = field(default_factory=list)
    inferences: list[Document] = field(default_factory=list)
    cases: list[Document] = field(default_factory=list)
    runs: list[Document] = field(default_factory=list)
    workers: list[Document] = field(default_factory=list)
    accesses: list[Document] = field(default_factory=list)
    purges: list[Document] = field(default_factory=list)
    deliveries: list[Document] = field(default_factory=list)

    @property
    def series_uids(self) -> list[str]:
        """Every series that there is something of."""
        told = [each.series for each in self.stored] + [each["series_instance_uid"] for each in self.series]
        return list(dict.fromkeys(told))

    @property
    def ids(self) -> set[str]:
        """Every UID and id by which a message or an access may name something of this."""
        subject = self.subject
        given = {subject.uid, subject.study, subject.series, subject.job} - {None, ""}
        # A study is named by whatever is told of any of its series: that says little of one series.
        of_one_series = {subject.study} if subject.kind in {Kind.SERIES, Kind.INSTANCE} else set()
        found = {each["_id"] for group in (self.jobs, self.inferences, self.runs) for each in group}
        return {str(each) for each in (given - of_one_series)} | set(self.series_uids) | found


async def gather(documents: Documents, subject: Subject) -> Records:
    """Read everything about a subject."""
    read = Records(subject=subject, now=await documents.now())
    if subject.kind in {Kind.STUDY, Kind.SERIES, Kind.INSTANCE}:
        await _read_intake(documents, read)
    await _read_jobs(documents, read)
    await _read_routings(documents, read)
    await _read_ends(documents, read)
    await _read_around(documents, read)
    await _read_told(documents, read)
    return read


async def _read_intake(documents: Documents, read: Records) -> None:
    subject = read.subject
    institution, whole = subject.institution, subject.kind is Kind.STUDY
    of = {"study_instance_uid": subject.study} if whole else {"series_instance_uid": subject.series}
    where = {"institution": institution, **of}
    groups = await documents[records.INSTANCES].aggregate(
        [
            {"$match": where},
            {
                "$group": {
                    "_id": {"series": "$series_instance_uid", "study": "$study_instance_uid"},
                    "count": {"$sum": 1},
                    "size_bytes": {"$sum": "$size_bytes"},
                    "first_at": {"$min": "$stored_at"},
                    "last_at": {"$max": "$stored_at"},
                }
            },
        ],
        limit=LIMIT,
    )
    read.stored = [Stored(**each.pop("_id"), **each) for each in groups]
    series = {"institution": institution, **of} if whole else {"_id": record_id(institution, subject.series or "")}
    read.series = await documents[records.SERIES].find(series, limit=LIMIT, only=_SERIES)
    study_id = record_id(institution, subject.study or "")
    read.studies = await documents[records.STUDIES].find({"_id": study_id}, limit=1, only=_STUDY)
    if subject.kind is Kind.INSTANCE:
        own = {"_id": record_id(institution, subject.uid)}
        read.instance = await documents[records.INSTANCES].find_one(own, only=_INSTANCE)


async def _read_jobs(documents: Documents, read: Records) -> None:
    subject, jobs = read.subject, documents[records.JOBS]
    if subject.job is not None:
        own = {"_id": subject.job, "institution": subject.institution}
        read.jobs = await jobs.find(own, limit=1)
        read.runs = await documents[records.RUNS].find(own, limit=1)
        return
    subjects = [*read.series_uids, *([subject.study] if subject.study else [])]
    where: Document = {"institution": subject.institution, "subject_uid": {"$in": subjects}}
    found = await jobs.find(where, limit=LIMIT)
    if subject.kind is not Kind.STUDY:
        found = [job for job in found if subject.series in job["series_instance_uids"]]
    read.jobs = sorted(found, key=lambda job: job["requested_at"])


async def _read_routings(documents: Documents, read: Records) -> None:
    institution, study = read.subject.institution, read.subject.study
    if read.subject.job is not None:
        of_job = {"job_ids": read.subject.job}
        subjects = [job["subject_uid"] for job in read.jobs]
    else:
        of_job = {}
        subjects = [*read.series_uids, *([study] if study else [])]
    where = {"institution": institution, "subject_uid": {"$in": subjects}, **of_job}
    read.routings = await documents[records.ROUTINGS].find(where, limit=LIMIT, only=_ROUTING)
    wished = {"_id": {"$in": [record_id(institution, uid) for uid in subjects]}}
    read.wishes = await documents[records.WISHES].find(wished, limit=LIMIT)


async def _read_ends(documents: Documents, read: Records) -> None:
    tasks = [(job["_id"], task) for job in read.jobs for task in job["tasks"]]
    leases = await _by_id(documents, records.LEASES, (f"{job_id}/{task['id']}" for job_id, task in tasks))
    read.leases = {each["_id"]: each for each in leases}
    attempts = (
        outcome_id(job_id, task["id"], attempt)
        for job_id, task in tasks
        for attempt in range(max(1, task["attempt"] - _ATTEMPTS_LIMIT + 1), task["attempt"] + 1)
    )
    read.outcomes = await _by_id(documents, records.OUTCOMES, attempts, only=_OUTCOME)
    inferences = (inference_id(job["_id"]) for job in read.jobs)
    read.inferences = await _by_id(documents, records.INFERENCES, inferences, only=_INFERENCE)
    uids = dict.fromkeys([*read.series_uids, *(uid for job in read.jobs for uid in job["series_instance_uids"])])
    cases = (record_id(read.subject.institution, uid) for uid in uids)
    read.cases = await _by_id(documents, records.CASES, cases)


async def _read_around(documents: Documents, read: Records) -> None:
    read.workers = await documents[records.WORKERS].find({}, limit=LIMIT)  # one a worker: there are few
    named = {"objects.uid": {"$in": sorted(read.ids)[:LIMIT]}, "institution": read.subject.institution}
    read.accesses = await documents.audit.find(named, limit=LIMIT, sort=(("at", -1),))
    if read.subject.study:
        of_study = {"institution": read.subject.institution, "study_instance_uid": read.subject.study}
        read.purges = await documents[PURGES].find(of_study, limit=LIMIT, only=_PURGE)


def _is_of(delivery: Document, read: Records) -> bool:
    """Say whether what a webhook is told is about the subject, and not about another part of its study."""
    if read.subject.job is not None:
        return bool(delivery["job_id"] == read.subject.job)
    whole = read.subject.kind is Kind.STUDY
    return whole or not set(read.series_uids).isdisjoint(delivery["series_instance_uids"])


async def _read_told(documents: Documents, read: Records) -> None:
    studies = {read.subject.study, *(job["study_instance_uid"] for job in read.jobs)} - {None, ""}
    of_studies = {"institution": read.subject.institution, "study_instance_uid": {"$in": list(studies)}}
    told = await documents[records.DELIVERIES].find(of_studies, limit=LIMIT, only=_DELIVERY)
    read.deliveries = [each for each in told if _is_of(each, read)]


async def _by_id(
    documents: Documents, name: str, ids: Iterable[str], *, only: Mapping[str, Any] | None = None
) -> list[Document]:
    wanted = list(dict.fromkeys(ids))[: 10 * LIMIT]
    return await documents[name].find({"_id": {"$in": wanted}}, limit=10 * LIMIT, only=only) if wanted else []
