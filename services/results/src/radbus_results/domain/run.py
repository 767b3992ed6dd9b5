"""A run of a model on an uploaded zip: what its records come to. It is no inference, and belongs to no series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from radbus_contracts import identity

_STARTED = frozenset({"running", "succeeded"})
_LESS_THAN_DONE = 0.99


class RunState(StrEnum):
    """How a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    REFUSED = "refused"  # what was uploaded is no zip, or no volume
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RunTask:
    """One task of a run's job: where it stands, and how far it is."""

    state: str
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class RunJob:
    """What the scheduler says of a run's job; `state` is the record's."""

    state: str
    tasks: Sequence[RunTask] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What one task of a completed job came to."""

    usable: bool = True
    summary: str = ""
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its readers see it; `progress` is from 0 to 1, `structure_set` the object key of the result.

    `model_id` is what it was started by, `machine` the name of what was started.
    """

    model_id: str
    state: RunState
    progress: float = 0.0
    message: str = ""
    structure_set: str | None = None
    machine: str = ""
    erased: bool = False  # its result is not kept any more

    @property
    def model_uuid(self) -> str:
        """The model's id among the rights of callers."""
        return identity.model_id(identity.RUN_USE_CASE, self.machine)


def run_of(model_id: str, job: RunJob | None, outcomes: Sequence[RunOutcome], *, overdue: bool) -> Run:
    """Say how a run stands; `overdue` is one whose job should have been there long ago."""
    if job is None:
        if overdue:
            return Run(model_id, RunState.FAILED, message="The run was never begun.")
        return Run(model_id, RunState.PENDING, message="The run waits for its turn.")
    match job.state:
        case "completed":
            return _completed(model_id, outcomes)
        case "cancelled":
            return Run(model_id, RunState.CANCELLED, _progress(job), "The run was cancelled.")
        case "failed":
            return Run(model_id, RunState.FAILED, _progress(job), f"The run failed: {job.reason or 'no reason given'}")
        case _:
            return _active(model_id, job)


def _completed(model_id: str, outcomes: Sequence[RunOutcome]) -> Run:
    for outcome in outcomes:
        if not outcome.usable:
            text = outcome.summary or "The uploaded archive is not in the correct format."
            return Run(model_id, RunState.REFUSED, 1.0, text)
    keys = [key for outcome in outcomes for key in outcome.files.get("rtstruct", ())]
    if not keys:
        return Run(model_id, RunState.FAILED, 1.0, "The run has ended without an RT Structure Set.")
    return Run(model_id, RunState.COMPLETED, 1.0, "The result is ready.", keys[0])


def _active(model_id: str, job: RunJob) -> Run:
    if any(task.state in _STARTED for task in job.tasks):
        return Run(model_id, RunState.RUNNING, _progress(job), "The run is under way.")
    return Run(model_id, RunState.PENDING, message="The run waits for its turn.")


def _progress(job: RunJob) -> float:
    """Say how far a job without a result is: never as far as one that has it."""
    done = sum(1.0 if task.state == "succeeded" else task.progress for task in job.tasks)
    return min(_LESS_THAN_DONE, max(0.0, done / len(job.tasks))) if job.tasks else 0.0
