"""A job and its tasks as values: every change makes a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from radbus_contracts.facts import CompareSpec, Priority, Scope


class TaskState(StrEnum):
    """Where a task is on its way."""

    WAITING = "waiting"  # for the tasks that it needs
    READY = "ready"  # for a slot
    DISPATCHED = "dispatched"  # its order is out
    RUNNING = "running"  # a worker has its lease
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobState(StrEnum):
    """Where a job is on its way."""

    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Task:
    """One task; `attempt` counts its dispatches and is the fence between them."""

    id: str
    machine: str
    pool: str
    needs: tuple[str, ...]
    state: TaskState
    max_attempts: int
    timeout_s: float
    not_before: datetime
    attempt: int = 0
    ready_at: datetime | None = None
    dispatched_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    progress: float = 0.0
    outcome_id: str | None = None
    reason: str | None = None
    channels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One use case on one revision of its subject; one on an archive has no study and no series.

    `finish_by` is by when it is to be begun, and from `begun_at`, when its first task is handed out, by when to end.
    `retries` counts how often somebody let it go on after it had failed or was cancelled.
    """

    id: str
    institution: str
    use_case: str
    use_case_version: int
    title: str
    scope: Scope
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    priority: Priority
    critical_when: str | None
    state: JobState
    tasks: tuple[Task, ...]
    requested_at: datetime
    finish_by: datetime
    begun_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None
    traceparent: str | None = None
    accepted_at: datetime | None = None
    archive: str | None = None
    compare: CompareSpec | None = None
    retries: int = 0

    def task(self, task_id: str) -> Task | None:
        """Find a task by its id."""
        return next((task for task in self.tasks if task.id == task_id), None)

    def with_task(self, changed: Task) -> Job:
        """Return this job with one of its tasks changed."""
        return replace(self, tasks=tuple(changed if task.id == changed.id else task for task in self.tasks))
