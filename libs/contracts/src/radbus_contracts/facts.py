"""The facts that services tell one another and the world, in the order in which a series meets them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from radbus_contracts.envelope import Payload


class Dialect(StrEnum):
    """How an instance came in."""

    UPLOAD = "upload"
    STOW_RS = "stow-rs"
    INNER_EYE = "inner-eye"
    C_STORE = "c-store"


class Priority(StrEnum):
    """How urgent a job is (the values of RequestedProcedurePriority that matter here, PS3.3 C.4.11)."""

    ROUTINE = "routine"
    HIGH = "high"
    STAT = "stat"


class Scope(StrEnum):
    """What a use case looks at as a whole."""

    SERIES = "series"
    STUDY = "study"
    ARCHIVE = "archive"  # the instances of an uploaded zip, which are no records and are erased after the job


class TriageStatus(StrEnum):
    """How a result is to be sorted on a worklist."""

    ROUTINE = "routine"
    CRITICAL = "critical"


class Source(Payload):
    """From where instances came."""

    dialect: Dialect
    calling_ae_title: str | None = None
    called_ae_title: str | None = None
    workspace: str | None = None
    token_name: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names by which a use case may know this source."""
        return tuple(n for n in (self.calling_ae_title, self.called_ae_title, self.workspace, self.token_name) if n)


class InstanceStoredV1(Payload):
    """An instance is in the stores. A courtesy: nothing that must happen hangs on it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    size_bytes: int


class SeriesCompletedV1(Payload):
    """All instances of a series are in, as far as can be told; a late one makes the next revision."""

    study_instance_uid: str
    series_instance_uid: str
    revision: int = Field(ge=1)
    modality: str
    instance_count: int
    source: Source
    accepted_at: datetime | None = Field(default=None, description="When the last instance was accepted.")


class StudyCompletedV1(Payload):
    """All series of a study are complete and none has come for a while."""

    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    revision: int = Field(ge=1)
    source: Source
    accepted_at: datetime | None = Field(default=None, description="When the last instance was accepted.")


class TaskSpec(Payload):
    """One task of a job: which machine, and which tasks must have succeeded before."""

    id: str
    machine: str
    needs: tuple[str, ...] = ()
    channels: dict[str, str] = Field(
        default_factory=dict, description="SeriesInstanceUID by channel, for a machine with several inputs."
    )


class CompareSpec(Payload):
    """With which earlier result of the same patient a job's measurements are compared."""

    against: Literal["previous"] = Field(default="previous", description="The latest earlier study's.")
    measurements: tuple[str, ...] = Field(default=(), description="Their names; none given is all of them.")


class JobRequestedV1(Payload):
    """A use case matches: its tasks are to be done."""

    job_id: str
    use_case: str
    use_case_version: int
    title: str
    scope: Scope
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    priority: Priority
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    critical_when: str | None = Field(default=None, description="CEL over the tasks' values.")
    compare: CompareSpec | None = Field(default=None, description="Absent: with nothing.")
    run: int = Field(default=1, ge=1, description="Counts the times that this job was asked for again.")
    archive: str | None = Field(
        default=None, description="Object key of a zip with a folder a channel; then there are no series."
    )
    accepted_at: datetime | None = Field(
        default=None, description="When the last instance was accepted; none where somebody asked for it later."
    )


class SeriesUnroutedV1(Payload):
    """No use case matches; the reasons are kept in the routing's record."""

    study_instance_uid: str
    series_instance_uid: str
    revision: int
    reason: str


class JobCancelRequestedV1(Payload):
    """Somebody asked to stop a job."""

    job_id: str
    reason: str


class TaskStartedV1(Payload):
    """A worker has taken a task's lease."""

    job_id: str
    task_id: str
    attempt: int
    worker: str


class TaskProgressedV1(Payload):
    """A courtesy: how far a task is, from 0 to 1."""

    job_id: str
    task_id: str
    attempt: int
    progress: float = Field(ge=0, le=1)


class TaskSucceededV1(Payload):
    """A task's outcome is recorded."""

    job_id: str
    task_id: str
    attempt: int
    worker: str
    outcome_id: str


class TaskFailedV1(Payload):
    """An attempt at a task failed; `again` says whether another may succeed."""

    job_id: str
    task_id: str
    attempt: int
    worker: str
    reason: str
    again: bool


class WorkerHeartbeatV1(Payload):
    """A worker is alive and has so many slots."""

    worker: str
    pool: str
    slots: int
    busy: int
    draining: bool = False


class TaskOutcome(Payload):
    """The outcome that a job used for one of its tasks."""

    task_id: str
    outcome_id: str


class JobCompletedV1(Payload):
    """The last task of a job has succeeded."""

    job_id: str
    use_case: str
    use_case_version: int
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    outcomes: tuple[TaskOutcome, ...]
    critical_when: str | None = None


class JobFailedV1(Payload):
    """A job has ended without a result."""

    job_id: str
    use_case: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    task_id: str | None
    reason: str
    cancelled: bool = False
    retries: int = Field(default=0, description="How often the job had been retried before.")


class JobRetriedV1(Payload):
    """A job that had failed or was cancelled goes on; its end is told again."""

    job_id: str
    use_case: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    retries: int = Field(ge=1, description="How often it has been retried, with this time.")


class InferenceCompletedV1(Payload):
    """A result can be read."""

    inference_id: str
    job_id: str
    use_case: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    triage: TriageStatus


class InferenceFailedV1(Payload):
    """There will be no result."""

    job_id: str
    use_case: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    reason: str


class FeedbackRecordedV1(Payload):
    """A radiologist has accepted or rejected a result."""

    inference_id: str
    accepted: bool


class StudyPurgedV1(Payload):
    """Instances of a study were erased here, or all that was recorded of it; what others fetched is theirs to erase."""

    purge_id: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...] = Field(description="The series that were erased.")
    whole_study: bool
    records: bool = Field(description="False: only the instances; what was computed of them may still be read.")
    by_policy: bool = Field(description="False: an operator asked for it.")


class InferencePurgedV1(Payload):
    """The outputs of an inference were erased here; it is answered with 410, or unknown."""

    purge_id: str
    inference_id: str
    job_id: str
    use_case: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    by_policy: bool = Field(description="False: an operator asked for it.")
