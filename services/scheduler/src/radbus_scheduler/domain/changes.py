"""What becomes of a job when something is told of it.

Each function gives the job after, or None where nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from radbus_contracts.facts import TaskFailedV1, TaskProgressedV1, TaskStartedV1, TaskSucceededV1

from radbus_scheduler.domain.job import Job, JobState, Task, TaskState
from radbus_scheduler.domain.transitions import IN_FLIGHT, JOB_TRANSITIONS, has_ended, may_become

_REASON_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a task waits before its next attempt: doubled each time, up to a limit."""

    first_s: float = 2.0
    limit_s: float = 60.0

    def after(self, attempt: int) -> timedelta:
        """Return the wait after an attempt, counted from 1."""
        return timedelta(seconds=min(self.first_s * 2.0 ** min(attempt - 1, 32), self.limit_s))


def dispatched(job: Job, task_id: str, *, attempt: int, now: datetime, deadline_s: float) -> Job | None:
    """Begin the attempt that follows `attempt`, if the task still waits for it; the first begins the job."""
    task = job.task(task_id)
    if task is None or task.attempt != attempt or task.not_before > now:
        return None
    if not may_become(task.state, TaskState.DISPATCHED):
        return None
    if job.begun_at is None:
        job = replace(job, begun_at=now, finish_by=now + timedelta(seconds=deadline_s))
    return job.with_task(
        replace(task, state=TaskState.DISPATCHED, attempt=attempt + 1, dispatched_at=now, started_at=None, reason=None)
    )


def started(job: Job, told: TaskStartedV1, now: datetime) -> Job | None:
    """A worker has taken the lease; an older attempt is no longer of interest."""
    task = job.task(told.task_id)
    if task is None or task.attempt != told.attempt or not may_become(task.state, TaskState.RUNNING):
        return None
    return job.with_task(replace(task, state=TaskState.RUNNING, started_at=now, worker=told.worker))


def progressed(job: Job, told: TaskProgressedV1) -> Job | None:
    """The current attempt is further on; it never goes back."""
    task = job.task(told.task_id)
    if task is None or task.attempt != told.attempt or task.state not in IN_FLIGHT or told.progress <= task.progress:
        return None
    return job.with_task(replace(task, progress=told.progress))


def succeeded(job: Job, told: TaskSucceededV1, now: datetime) -> Job | None:
    """The first success wins, of whichever attempt; what waited for it becomes ready, or the job is complete."""
    task = job.task(told.task_id)
    if task is None or told.attempt > task.attempt or not may_become(task.state, TaskState.SUCCEEDED):
        return None
    won = replace(
        task,
        state=TaskState.SUCCEEDED,
        outcome_id=told.outcome_id,
        worker=told.worker,
        progress=1.0,
        finished_at=now,
        reason=None,
    )
    return _advanced(job.with_task(won), now)


def failed(job: Job, told: TaskFailedV1, *, now: datetime, backoff: Backoff) -> Job | None:
    """The current attempt failed: the next one, or the end of the job; an older attempt's failure says nothing."""
    task = _in_flight(job, told.task_id, told.attempt)
    if task is None:
        return None
    if told.again and task.attempt < task.max_attempts:
        return _again(job, task, told.reason, now + backoff.after(task.attempt))
    return _job_failed_by(job, task, told.reason, now)


def lost(job: Job, task_id: str, *, attempt: int, reason: str, now: datetime, backoff: Backoff) -> Job | None:
    """Nothing more will come of an attempt: the next one, or, when all are used up, the end of the job."""
    task = _in_flight(job, task_id, attempt)
    if task is None:
        return None
    if task.attempt < task.max_attempts:
        return _again(job, task, reason, now + backoff.after(task.attempt))
    return _job_failed_by(job, task, f"{reason} (attempt {task.attempt} of {task.max_attempts})", now)


def given_back(job: Job, task_id: str, *, attempt: int, now: datetime) -> Job | None:
    """A worker that was told to stop has returned the task: another may take it at once, and it costs no attempt."""
    task = _in_flight(job, task_id, attempt)
    if task is None:
        return None
    return _again(job, replace(task, max_attempts=task.max_attempts + 1), "given back by its worker", now)


def cancelled(job: Job, reason: str, now: datetime) -> Job | None:
    """Somebody wants it no more."""
    return _ended(job, JobState.CANCELLED, reason, now)


def expired(job: Job, now: datetime) -> Job | None:
    """The job's deadline has passed, or nobody has begun it in time."""
    if now < job.finish_by:
        return None
    why = "no worker was free to begin it in time" if job.begun_at is None else "the job's deadline has passed"
    return _ended(job, JobState.FAILED, why, now)


def _in_flight(job: Job, task_id: str, attempt: int) -> Task | None:
    task = job.task(task_id)
    return task if task is not None and task.attempt == attempt and task.state in IN_FLIGHT else None


def _advanced(job: Job, now: datetime) -> Job:
    done = {task.id for task in job.tasks if task.state is TaskState.SUCCEEDED}
    if len(done) == len(job.tasks):
        return replace(job, state=JobState.COMPLETED, finished_at=now)
    return replace(
        job,
        tasks=tuple(
            replace(task, state=TaskState.READY, ready_at=now, not_before=now)
            if task.state is TaskState.WAITING and done.issuperset(task.needs)
            else task
            for task in job.tasks
        ),
    )


def _again(job: Job, task: Task, reason: str, not_before: datetime) -> Job:
    return job.with_task(
        replace(
            task,
            state=TaskState.READY,
            not_before=not_before,
            started_at=None,
            worker=None,
            progress=0.0,
            reason=reason[:_REASON_LIMIT],
        )
    )


def _job_failed_by(job: Job, task: Task, reason: str, now: datetime) -> Job | None:
    reason = reason[:_REASON_LIMIT]
    at_fault = replace(task, state=TaskState.FAILED, finished_at=now, reason=reason)
    return _ended(job.with_task(at_fault), JobState.FAILED, f"task {task.id}: {reason}", now)


def _ended(job: Job, state: JobState, reason: str, now: datetime) -> Job | None:
    if state not in JOB_TRANSITIONS[job.state]:
        return None
    tasks = tuple(
        task if has_ended(task.state) else replace(task, state=TaskState.CANCELLED, finished_at=now)
        for task in job.tasks
    )
    return replace(job, state=state, reason=reason[:_REASON_LIMIT], finished_at=now, tasks=tasks)
