"""The collections and the shape of their documents: one service writes each, the others read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypedDict

INSTANCES: Final = "instances"  # ingest
SERIES: Final = "series"  # ingest
STUDIES: Final = "studies"  # ingest
RUNS: Final = "runs"  # ingest
ROUTINGS: Final = "routings"  # router
WISHES: Final = "wishes"  # router
JOBS: Final = "jobs"  # scheduler
WORKERS: Final = "workers"  # scheduler
TURNS: Final = "turns"  # scheduler
LEASES: Final = "leases"  # worker
OUTCOMES: Final = "outcomes"  # worker
INFERENCES: Final = "inferences"  # results
CASES: Final = "cases"  # results
PURGES: Final = "purges"  # whoever purges: results and the operator's command
SWEEPS: Final = "sweeps"  # results
DELIVERIES: Final = "deliveries"  # results; the operator's command adds tests, and asks for other tries
WEBHOOKS: Final = "webhooks"  # the operator's command
TOKENS: Final = "tokens"  # the operator's command; every service writes when one was last used
USERS: Final = "users"  # the operator's command
AUDIT: Final = "audit"  # every service and the operator's commands add to it; nobody changes it
MIGRATIONS: Final = "migrations"  # the operator's command
RESTORES: Final = "restores"  # the operator's command


class InstanceRecord(TypedDict):
    """`instances`: one stored instance; `_id` is institution/SOPInstanceUID."""

    _id: str
    institution: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    object_key: str
    size_bytes: int
    sha256: str
    elements: dict[str, Any]  # header elements by keyword
    stored_at: datetime


class SeriesRecord(TypedDict):
    """`series`: `_id` is institution/SeriesInstanceUID; `revision` is 0 until it has been complete once."""

    _id: str
    institution: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    source: dict[str, Any]
    state: str  # receiving | complete | erased (its instances are; a later one opens it again)
    purge: str | None  # the purge that has it now: it cannot be touched meanwhile (docs/decisions/0012)
    touches: int  # grows with every arrival: the fence of the claim that completes it
    quiet_at: datetime
    revision: int
    instance_count: int
    instances_digest: str  # of the sorted SOPInstanceUIDs of the last revision
    elements: dict[str, Any]  # of one representative instance
    all: dict[str, list[Any]]  # distinct values of the elements in which instances differ (at most 200 each)
    accepted_at: datetime  # when the last instance was accepted
    traceparent: str | None  # of the last request, so that its completion goes on with its trace
    traceparents: list[str]  # of the last 16 requests since it was complete last: its completion has links to them
    outbox: list[dict[str, Any]]


class StudyRecord(TypedDict):
    """`studies`: `_id` is institution/StudyInstanceUID."""

    _id: str
    institution: str
    study_instance_uid: str
    source: dict[str, Any]
    state: str  # receiving | complete
    purge: str | None  # as of a series
    disturbed: bool  # somebody wanted to touch it since it was purged: the purge looks once more
    look_at: datetime | None  # when something of it may be due to be erased; None is now
    touches: int
    quiet_at: datetime
    revision: int
    series_instance_uids: list[str]  # as of the last revision
    series_digest: str
    accepted_at: datetime
    traceparent: str | None
    traceparents: list[str]
    outbox: list[dict[str, Any]]


class RunRecord(TypedDict):
    """`runs`: one run of a model on an uploaded zip, by the inferencing API; `_id` is the run's and its job's id."""

    _id: str
    institution: str
    model_id: str
    machine: str
    sha256: str  # of the zip
    # With institution, model and sha256 unique: a start that is repeated soon finds the run. Of a run that has begun it
    # is "open" or the run's id; of one that was announced or withdrawn, that id with the word behind it.
    window: str
    archive: str  # object key of the zip; erased once the job ended
    size_bytes: int
    started_at: datetime
    ended_at: datetime | None
    look_at: datetime | None  # as of a study
    erased_at: datetime | None  # since when its result is not kept any more
    outbox: list[dict[str, Any]]


class WishRecord(TypedDict):
    """`wishes`: somebody asked for the computation of what is not routed yet; `_id` is institution/UID."""

    _id: str
    institution: str
    asked_at: datetime


class RoutingRecord(TypedDict):
    """`routings`: what was decided for one revision of a series or study, and why."""

    _id: str  # institution/subject_uid/revision
    institution: str
    scope: str
    study_instance_uid: str
    subject_uid: str
    revision: int
    # {use_case, version, matched, on_request, runs, conditions: [{name, expression, answer, reason}], job}: `job` is
    # the whole JobRequestedV1 of one that matches, also where nobody has asked yet (on_request); `runs` counts how
    # often it was asked for, so it is the fence of the compare-and-set that asks again
    decisions: list[dict[str, Any]]
    job_ids: list[str]  # of every run
    reason: str | None  # why no use case matches
    wishes_seen: bool  # false while it is not known whether somebody asked before this was decided
    decided_at: datetime
    outbox: list[dict[str, Any]]


class TaskRecord(TypedDict):
    """One task within a job."""

    id: str
    machine: str
    pool: str
    needs: list[str]
    channels: dict[str, str]  # SeriesInstanceUID by channel
    state: str  # waiting | ready | dispatched | running | succeeded | failed | cancelled
    attempt: int
    max_attempts: int
    timeout_s: float
    not_before: datetime
    ready_at: datetime | None
    dispatched_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    progress: float
    outcome_id: str | None
    reason: str | None


class JobRecord(TypedDict):
    """`jobs`: one use case on one revision of its subject, with its tasks in it."""

    _id: str  # job id
    institution: str
    use_case: str
    use_case_version: int
    title: str
    scope: str
    study_instance_uid: str
    series_instance_uids: list[str]
    subject_uid: str
    revision: int
    priority: str
    critical_when: str | None
    compare: dict[str, Any] | None  # with which earlier result of the patient; absent in older records
    archive: str | None  # object key of an uploaded zip, in the place of series
    state: str  # active | completed | failed | cancelled
    tasks: list[TaskRecord]
    retries: int  # how often it went on after it had failed or was cancelled
    requested_at: datetime
    accepted_at: datetime | None  # when its last instance was accepted; none where somebody asked for it later
    finish_by: datetime  # by when it is to be begun; once it is, by when it is to end
    begun_at: datetime | None  # when its first task was handed out; absent in older records
    finished_at: datetime | None
    reason: str | None
    traceparent: str | None  # of the request, so that its tasks' orders go on with its trace
    version: int  # grows with every change: the fence of the compare-and-set
    outbox: list[dict[str, Any]]


class WorkerRecord(TypedDict):
    """`workers`: the last heartbeat of each worker."""

    _id: str  # worker's name
    pool: str
    slots: int
    busy: int
    draining: bool
    seen_at: datetime


class TurnRecord(TypedDict):
    """`turns`: which scheduler replica looks for ready tasks now, so that two do not fill the same free slots."""

    _id: str
    replica: str
    until: datetime


class LeaseRecord(TypedDict):
    """`leases`: which worker runs which attempt of a task, and until when it is believed to."""

    _id: str  # job/task
    job_id: str
    task_id: str
    attempt: int
    worker: str
    until: datetime
    released: bool
    prior: dict[str, Any]  # inference_id of the earlier result that the first attempt compared with, or none


class OutcomeRecord(TypedDict, total=False):
    """`outcomes`: what one attempt of a task came to."""

    _id: str  # job/task/attempt
    institution: str
    job_id: str
    task_id: str
    attempt: int
    worker: str
    succeeded: bool
    reason: str | None  # why it failed
    machine: dict[str, Any]  # name, version, title, weights_sha256
    summary: str
    usable: bool
    values: dict[str, Any]
    measurements: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    limits: list[str]
    remarks: list[str]
    comparison: dict[str, Any] | None  # with the patient's previous result, where the use case asks for it
    inputs: dict[str, Any]  # what the model was given, readable as JSON (CONTRACTS: Inference object)
    files: dict[str, list[str]]  # object keys by kind: seg, sr, gsps, sc, rtstruct, sc_png, pdf, json, npz, ...
    erased_at: datetime  # since when its files, and what was found, are not kept any more
    started_at: datetime
    finished_at: datetime
    outbox: list[dict[str, Any]]


class PurgeRecord(TypedDict):
    """`purges`: one deletion, written before the first byte of it is gone; kept, with UIDs and counts only."""

    _id: str
    institution: str
    kind: str  # study | series | run
    subject_uid: str
    study_instance_uid: str  # "" of a run
    what: list[str]  # inputs, outputs, records
    job_ids: list[str] | None  # whose outputs; None is all of the subject's
    by_policy: bool
    by: str  # "policy", or the operator as user@host
    reason: str
    due_at: datetime | None
    open: bool
    state: str  # waiting | erasing | finished | withdrawn
    waits_for: str | None  # why it could not begin, or go on, when it was last tried
    plan: dict[str, Any] | None  # what goes: series, jobs, inferences; from when it is there, things are being erased
    counts: dict[str, int]
    steps: dict[str, datetime]  # when each was done
    asked_at: datetime
    try_at: datetime
    attempts: int
    lease: dict[str, Any]  # holder, until
    erasing_since: datetime | None
    finished_at: datetime | None
    outbox: list[dict[str, Any]]


class SweepRecord(TypedDict):
    """`sweeps`: which replica looks for what is due, and by which policy the due dates were computed."""

    _id: str
    replica: str
    until: datetime
    policy: str
