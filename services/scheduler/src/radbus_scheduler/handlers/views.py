"""The shapes that `/jobs` answers in: no patient data, only UIDs."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field
from radbus_contracts.facts import Priority, Scope

from radbus_scheduler.domain.job import Job, JobState, Task, TaskState


class TaskView(BaseModel):
    """A task of a job."""

    id: str
    machine: str
    pool: str
    needs: list[str]
    state: TaskState
    attempt: int = Field(description="How often it was given to a worker.")
    max_attempts: int
    progress: float = Field(description="From 0 to 1.")
    worker: str | None
    outcome_id: str | None
    reason: str | None = Field(description="Why it failed, or why its attempt before did.")
    not_before: datetime
    ready_at: datetime | None
    dispatched_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, task: Task) -> Self:
        """Show a task."""
        return cls(**{name: getattr(task, name) for name in cls.model_fields})


class JobView(BaseModel):
    """A job: one use case on one revision of a series or study."""

    id: str
    use_case: str
    use_case_version: int
    title: str
    scope: Scope
    study_instance_uid: str
    series_instance_uids: list[str]
    subject_uid: str
    revision: int
    priority: Priority
    state: JobState
    reason: str | None = Field(description="Why it failed or was cancelled.")
    retries: int = Field(description="How often it went on after it had failed or was cancelled.")
    requested_at: datetime
    finish_by: datetime = Field(
        description="When it fails if no task of it was handed out; from then on, when it fails if it has not ended."
    )
    finished_at: datetime | None
    tasks: list[TaskView]

    @classmethod
    def of(cls, job: Job) -> Self:
        """Show a job."""
        values = {name: getattr(job, name) for name in cls.model_fields if name != "tasks"}
        return cls(**values, tasks=[TaskView.of(task) for task in job.tasks])


class JobPageView(BaseModel):
    """Some jobs, and how to ask for those that follow."""

    jobs: list[JobView]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class CancelView(BaseModel):
    """Why a job is to be stopped."""

    reason: str = Field(min_length=1, max_length=200, description="Shown to others: no patient data.")
