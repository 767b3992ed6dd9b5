"""What is to be told when a job changes: it follows from the job before and the job after, nothing else."""

from __future__ import annotations

from typing import Final

from radbus_contracts.facts import JobCompletedV1, JobFailedV1, JobRetriedV1, TaskOutcome
from radbus_contracts.identity import event_id
from radbus_contracts.orders import RunTaskV1
from radbus_contracts.topology import JOB_COMPLETED, JOB_FAILED, JOB_RETRIED, RUN_TASK, TASKS
from radbus_runtime.events import Outgoing, Teller

from radbus_scheduler.domain.job import Job, JobState, Task, TaskState

# Why somebody did is in their own words, which may name a patient: it stays in the record.
_CANCELLED: Final = "on request"


def messages_of(teller: Teller, before: Job | None, after: Job) -> list[Outgoing]:
    """Make the orders of the tasks that were just dispatched, and the facts of the job's end and of its retry."""
    messages = [_order(teller, after, task) for task in _just_dispatched(before, after)]
    if before is not None and before.retries < after.retries:
        messages.append(_retried(teller, after))
    if before is None or before.state is not after.state:
        messages += _end(teller, after)
    return messages


def _just_dispatched(before: Job | None, after: Job) -> list[Task]:
    behind = {task.id: task.attempt for task in before.tasks} if before else {}
    return [
        task for task in after.tasks if task.state is TaskState.DISPATCHED and task.attempt > behind.get(task.id, 0)
    ]


def _order(teller: Teller, job: Job, task: Task) -> Outgoing:
    order = RunTaskV1(
        job_id=job.id,
        task_id=task.id,
        attempt=task.attempt,
        machine=task.machine,
        use_case=job.use_case,
        title=job.title,
        study_instance_uid=job.study_instance_uid,
        series_instance_uids=job.series_instance_uids,
        needs=_outcomes(job, only=task.needs),
        channels=dict(task.channels),
        archive=job.archive,
        compare=job.compare,
        finish_by=job.finish_by,
    )
    return teller.tell(
        RUN_TASK,
        order,
        subject=job.id,
        institution=job.institution,
        exchange=TASKS,
        routing_key=task.pool,
        event_id=event_id("run", job.id, task.id, str(task.attempt)),
    )


def _end(teller: Teller, job: Job) -> list[Outgoing]:
    if job.state is JobState.ACTIVE:
        return []
    is_complete = job.state is JobState.COMPLETED
    return [
        teller.tell(
            JOB_COMPLETED if is_complete else JOB_FAILED,
            _completed(job) if is_complete else _failed(job),
            subject=job.id,
            institution=job.institution,
            event_id=event_id("job-ended", job.id, job.state.value, *_which_time(job)),
        )
    ]


def _which_time(job: Job) -> tuple[str, ...]:
    """Tell one failure of a job from the next."""
    return (str(job.retries),) if job.retries else ()


def _retried(teller: Teller, job: Job) -> Outgoing:
    fact = JobRetriedV1(
        job_id=job.id,
        use_case=job.use_case,
        study_instance_uid=job.study_instance_uid,
        series_instance_uids=job.series_instance_uids,
        subject_uid=job.subject_uid,
        revision=job.revision,
        retries=job.retries,
    )
    return teller.tell(
        JOB_RETRIED,
        fact,
        subject=job.id,
        institution=job.institution,
        event_id=event_id("job-retried", job.id, *_which_time(job)),
    )


def _completed(job: Job) -> JobCompletedV1:
    return JobCompletedV1(
        job_id=job.id,
        use_case=job.use_case,
        use_case_version=job.use_case_version,
        study_instance_uid=job.study_instance_uid,
        series_instance_uids=job.series_instance_uids,
        subject_uid=job.subject_uid,
        revision=job.revision,
        outcomes=_outcomes(job),
        critical_when=job.critical_when,
    )


def _failed(job: Job) -> JobFailedV1:
    is_cancelled = job.state is JobState.CANCELLED
    return JobFailedV1(
        job_id=job.id,
        use_case=job.use_case,
        study_instance_uid=job.study_instance_uid,
        series_instance_uids=job.series_instance_uids,
        subject_uid=job.subject_uid,
        revision=job.revision,
        task_id=next((task.id for task in job.tasks if task.state is TaskState.FAILED), None),
        reason=_CANCELLED if is_cancelled else job.reason or "",
        cancelled=is_cancelled,
        retries=job.retries,
    )


def _outcomes(job: Job, *, only: tuple[str, ...] | None = None) -> tuple[TaskOutcome, ...]:
    return tuple(
        TaskOutcome(task_id=task.id, outcome_id=task.outcome_id)
        for task in job.tasks
        if task.outcome_id is not None and (only is None or task.id in only)
    )
