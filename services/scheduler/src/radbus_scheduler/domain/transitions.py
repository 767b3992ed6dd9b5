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
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}
JOB_TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.ACTIVE: frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
IN_FLIGHT: Final = frozenset({TaskState.DISPATCHED, TaskState.RUNNING})


def may_become(state: TaskState, wanted: TaskState) -> bool:
    """Say whether a task may go from one state to another."""
    return wanted in TASK_TRANSITIONS[state]


def has_ended(state: TaskState) -> bool:
    """Say whether nothing can follow on a task's state."""
    return not TASK_TRANSITIONS[state]


def needs_dispatcher(before: Job | None, after: Job) -> bool:
    """Say whether a change gives the dispatcher something to do: a task became ready, or a slot became free."""
    states = {task.id: task.state for task in before.tasks} if before else {}
    return any(
        task.state is not states.get(task.id)
        and (task.state is TaskState.READY or (states.get(task.id) in IN_FLIGHT and task.state not in IN_FLIGHT))
        for task in after.tasks
    )
