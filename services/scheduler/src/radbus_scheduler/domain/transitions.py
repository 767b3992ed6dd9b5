"""The transitions that are allowed, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from radbus_scheduler.domain.job import Job, JobState, TaskState

TASK_TRANSITIONS: Final[Mapping[TaskState, frozenset[TaskState]]] = {
    TaskState.WAITING: frozenset({TaskState.READY, TaskState.CANCELLED}),
    # An older attempt may still succeed while the next one waits for its turn.
    TaskState.READY: frozenset({TaskState.DISPATCHED, TaskState.SUCCEEDED, TaskState.CANCELLED}),
    TaskState.DISPATCHED: frozenset(
        {TaskState.RUNNING, TaskState.READY, TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}
    ),
    TaskState.RUNNING: frozenset({TaskState.READY, TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.SUCCEEDED: frozenset(),
    # Only by a retry of its job.
    TaskState.FAILED: frozenset({TaskState.READY, TaskState.WAITING}),
    TaskState.CANCELLED: frozenset({TaskState.READY, TaskState.WAITING}),
}
JOB_TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.ACTIVE: frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}),
    JobState.COMPLETED: frozenset(),
    # By a retry.
    JobState.FAILED: frozenset({JobState.ACTIVE}),
    JobState.CANCELLED: frozenset({JobState.ACTIVE}),
}
IN_FLIGHT: Final = frozenset({TaskState.DISPATCHED, TaskState.RUNNING})
_ENDED: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})


def may_become(state: TaskState, wanted: TaskState) -> bool:
    """Say whether a task may go from one state to another."""
    return wanted in TASK_TRANSITIONS[state]


def has_ended(state: TaskState) -> bool:
    """Say whether nothing follows on a task's state, unless its job is retried."""
    return state in _ENDED


def needs_dispatcher(before: Job | None, after: Job) -> bool:
    """Say whether a change gives the dispatcher something to do: a task became ready, or a slot became free."""
    states = {task.id: task.state for task in before.tasks} if before else {}
    return any(
        task.state is not states.get(task.id)
        and (task.state is TaskState.READY or (states.get(task.id) in IN_FLIGHT and task.state not in IN_FLIGHT))
        for task in after.tasks
    )
