"""Jobs and facts for the tests of the scheduler's domain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from radbus_contracts.facts import (
    JobRequestedV1,
    Priority,
    Scope,
    TaskFailedV1,
    TaskProgressedV1,
    TaskSpec,
    TaskStartedV1,
    TaskSucceededV1,
)
from radbus_machines.manifest import MachineManifest, Runner
from radbus_scheduler.domain.changes import Backoff, dispatched
from radbus_scheduler.domain.job import Job
from radbus_scheduler.domain.plan import plan

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
BACKOFF = Backoff(first_s=2, limit_s=60)
WAIT_S, DEADLINE_S = 43_200, 3600


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def machine(name: str, *, pool: str = "gpu", max_attempts: int = 3, timeout_s: float = 100) -> MachineManifest:
    return MachineManifest(
        name=name,
        version="1",
        title=name,
        runner=Runner.TRITON,
        pool=pool,
        max_attempts=max_attempts,
        timeout_s=timeout_s,
    )


MACHINES = {"m": machine("m"), "report": machine("report", pool="default")}


def request(*tasks: TaskSpec, job_id: str = "job", priority: Priority = Priority.ROUTINE) -> JobRequestedV1:
    return JobRequestedV1(
        job_id=job_id,
        use_case="qct",
        use_case_version=1,
        title="Chest CT",
        scope=Scope.SERIES,
        study_instance_uid="1.2",
        series_instance_uids=("1.2.3",),
        subject_uid="1.2.3",
        revision=1,
        priority=priority,
        tasks=tasks or (TaskSpec(id="a", machine="m"),),
    )


def request_on_archive(*tasks: TaskSpec) -> JobRequestedV1:
    nothing = {"scope": Scope.ARCHIVE, "study_instance_uid": "", "series_instance_uids": (), "subject_uid": "job"}
    return request(*tasks).model_copy(update={**nothing, "archive": "north/runs/job/upload.zip"})


def job(*tasks: TaskSpec, wait_s: float = WAIT_S, traceparent: str | None = None) -> Job:
    return planned(request(*tasks), wait_s=wait_s, traceparent=traceparent)


def planned(asked: JobRequestedV1, *, wait_s: float = WAIT_S, traceparent: str | None = None) -> Job:
    return plan(
        asked,
        institution="north",
        machines=MACHINES,
        now=T0,
        wait_s=wait_s,
        traceparent=traceparent,
    )


def given(after: Job | None) -> Job:
    assert after is not None, "expected a change"
    return after


def in_flight(before: Job, task_id: str = "a", *, now: datetime = T0) -> Job:
    task = before.task(task_id)
    assert task is not None
    return given(
        dispatched(before, task_id, attempt=task.attempt, now=max(now, task.not_before), deadline_s=DEADLINE_S)
    )


def started_fact(task_id: str = "a", attempt: int = 1) -> TaskStartedV1:
    return TaskStartedV1(job_id="job", task_id=task_id, attempt=attempt, worker="w")


def progressed_fact(progress: float, attempt: int = 1) -> TaskProgressedV1:
    return TaskProgressedV1(job_id="job", task_id="a", attempt=attempt, progress=progress)


def succeeded_fact(task_id: str = "a", attempt: int = 1) -> TaskSucceededV1:
    outcome = f"job/{task_id}/{attempt}"
    return TaskSucceededV1(job_id="job", task_id=task_id, attempt=attempt, worker="w", outcome_id=outcome)


def failed_fact(task_id: str = "a", attempt: int = 1, *, again: bool = True) -> TaskFailedV1:
    return TaskFailedV1(job_id="job", task_id=task_id, attempt=attempt, worker="w", reason="no memory", again=again)
