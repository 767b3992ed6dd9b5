"""A run: one model on one uploaded zip, which nobody opens here and which is erased when the run has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from radbus_contracts.facts import JobRequestedV1, Priority, Scope, TaskSpec
from radbus_contracts.identity import RUN_USE_CASE, model_id

_USE_CASE_VERSION: Final = 1
_TASK: Final = "segment"
FREEING_STATES: Final = frozenset({"failed", "cancelled"})
"""States of a job after which the same may be started anew."""
_ENDED_STATES: Final = FREEING_STATES | {"completed"}


@dataclass(frozen=True, slots=True)
class Model:
    """A machine as the clients of the inferencing API know it; no channels means that it has a single input."""

    id: str
    machine: str
    title: str
    version: str
    channels: tuple[str, ...] = ()

    @property
    def uuid(self) -> str:
        """The same model's id among the rights of callers, whatever its version."""
        return model_id(RUN_USE_CASE, self.machine)


@dataclass(frozen=True, slots=True)
class Upload:
    """What is asked for: a model, on a zip of this content."""

    institution: str
    model: Model
    sha256: str
    size_bytes: int


def archive_key(institution: str, run_id: str) -> str:
    """Name the object of a run's zip."""
    return f"{institution}/runs/{run_id}/upload.zip"


def job_of(run_id: str, upload: Upload) -> JobRequestedV1:
    """Make the request for a run's job: it has a zip in the place of a study and its series."""
    return JobRequestedV1(
        job_id=run_id,
        use_case=RUN_USE_CASE,
        use_case_version=_USE_CASE_VERSION,
        title=upload.model.title,
        scope=Scope.ARCHIVE,
        study_instance_uid="",
        series_instance_uids=(),
        subject_uid=run_id,
        revision=1,
        priority=Priority.HIGH,
        tasks=(TaskSpec(id=_TASK, machine=upload.model.machine),),
        archive=archive_key(upload.institution, run_id),
    )


def has_ended(job_state: str | None) -> bool:
    """Say whether nothing will read a run's zip any more: its job has ended, or there is none."""
    return job_state is None or job_state in _ENDED_STATES
