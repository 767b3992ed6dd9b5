"""Making a job of what was asked for: each task gets its machine's pool and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from graphlib import CycleError, TopologicalSorter

from radbus_contracts.facts import JobRequestedV1, TaskSpec
from radbus_machines.manifest import MachineManifest

from radbus_scheduler.domain.job import Job, JobState, Task, TaskState

Machines = Mapping[str, MachineManifest]


def plan(
    asked: JobRequestedV1,
    *,
    institution: str,
    machines: Machines,
    now: datetime,
    wait_s: float,
    traceparent: str | None = None,
) -> Job:
    """Make the job; one that can never run is made as failed, with the reason."""
    job = Job(
        id=asked.job_id,
        institution=institution,
        use_case=asked.use_case,
        use_case_version=asked.use_case_version,
        title=asked.title,
        scope=asked.scope,
        study_instance_uid=asked.study_instance_uid,
        series_instance_uids=asked.series_instance_uids,
        subject_uid=asked.subject_uid,
        revision=asked.revision,
        priority=asked.priority,
        critical_when=asked.critical_when,
        state=JobState.ACTIVE,
        tasks=tuple(_task(spec, machines.get(spec.machine), now) for spec in asked.tasks),
        requested_at=now,
        finish_by=now + timedelta(seconds=wait_s),
        traceparent=traceparent,
        archive=asked.archive,
        accepted_at=asked.accepted_at,
        compare=asked.compare,
    )
    reason = fault_of(asked.tasks, machines)
    return job if reason is None else _refused(job, reason, now)


def fault_of(tasks: Sequence[TaskSpec | Task], machines: Machines) -> str | None:
    """Say why tasks can never run, or None where they can."""
    ids = [task.id for task in tasks]
    if len(set(ids)) < len(ids):
        return "two tasks have the same id"
    for task in tasks:
        if task.machine not in machines:
            return f"task {task.id}: no machine is named {task.machine!r}"
        absent = [need for need in task.needs if need not in ids]
        if absent:
            return f"task {task.id} needs {absent[0]!r}, which is not a task of this job"
    try:
        TopologicalSorter({task.id: task.needs for task in tasks}).prepare()
    except CycleError:
        return "tasks need one another in a circle"
    return None


def _task(spec: TaskSpec, machine: MachineManifest | None, now: datetime) -> Task:
    return Task(
        id=spec.id,
        machine=spec.machine,
        pool=machine.pool if machine else "",
        needs=spec.needs,
        state=TaskState.WAITING if spec.needs else TaskState.READY,
        max_attempts=machine.max_attempts if machine else 0,
        timeout_s=machine.timeout_s if machine else 0,
        not_before=now,
        ready_at=None if spec.needs else now,
        channels=spec.channels,
    )


def _refused(job: Job, reason: str, now: datetime) -> Job:
    tasks = tuple(replace(task, state=TaskState.CANCELLED, finished_at=now) for task in job.tasks)
    return replace(job, state=JobState.FAILED, reason=reason, finished_at=now, tasks=tasks)
