"""Letting a job that has failed or was cancelled go on: what of it begins anew, and when that makes no sense."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from radbus_scheduler.domain.job import Job, JobState, Task, TaskState
from radbus_scheduler.domain.plan import Machines, fault_of
from radbus_scheduler.domain.transitions import JOB_TRANSITIONS, may_become


def why_not_retried(job: Job, *, machines: Machines, newest_revision: int, erased: bool) -> str | None:
    """Say why a job cannot go on, or None where it can, or does already."""
    if job.state is JobState.ACTIVE and job.retries:
        return None
    if JobState.ACTIVE not in JOB_TRANSITIONS[job.state]:
        return f"expected a job that has failed or was cancelled; this one is {job.state.value}"
    if job.archive is not None:
        return "expected a job on series; this one was a run, whose zip is erased when it ends: start it again"
    if job.revision < newest_revision:
        return f"expected a job of the newest revision; revision {newest_revision} has taken this one's place"
    if erased:
        return "expected a job of which nothing was erased; outputs of this one were: rerun it"
    return fault_of(job.tasks, machines)


def retried(job: Job, *, machines: Machines, now: datetime, wait_s: float) -> Job | None:
    """Let a job go on: what has succeeded stays, the rest has fresh attempts, by what its machines are now.

    Attempts are counted on, for their number is the fence between them.
    """
    if JobState.ACTIVE not in JOB_TRANSITIONS[job.state]:
        return None
    done = {task.id for task in job.tasks if task.state is TaskState.SUCCEEDED}
    return replace(
        job,
        state=JobState.ACTIVE,
        tasks=tuple(_begun_anew(task, machines, done, now) for task in job.tasks),
        retries=job.retries + 1,
        finish_by=now + timedelta(seconds=wait_s),
        begun_at=None,
        finished_at=None,
        reason=None,
    )


def _begun_anew(task: Task, machines: Machines, done: set[str], now: datetime) -> Task:
    state = TaskState.READY if done.issuperset(task.needs) else TaskState.WAITING
    if not may_become(task.state, state):
        return task
    machine = machines[task.machine]
    return replace(
        task,
        state=state,
        pool=machine.pool,
        timeout_s=machine.timeout_s,
        max_attempts=task.attempt + machine.max_attempts,
        not_before=now,
        ready_at=now if state is TaskState.READY else None,
        dispatched_at=None,
        started_at=None,
        finished_at=None,
        worker=None,
        progress=0.0,
    )
