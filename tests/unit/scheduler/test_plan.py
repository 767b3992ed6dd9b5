"""Making a job of what was asked for."""

from __future__ import annotations

import pytest
from radbus_contracts.facts import TaskSpec
from radbus_scheduler.domain.job import JobState, TaskState

from tests.unit.scheduler.builders import T0, at, job


def test_a_task_that_needs_nothing_is_ready_and_the_others_wait():
    asked = (TaskSpec(id="a", machine="m"), TaskSpec(id="b", machine="report", needs=("a",)))

    made = job(*asked)

    assert made.state is JobState.ACTIVE
    assert [task.state for task in made.tasks] == [TaskState.READY, TaskState.WAITING]
    assert [task.ready_at for task in made.tasks] == [T0, None]


def test_a_task_gets_the_pool_and_the_limits_of_its_machine():
    made = job(TaskSpec(id="a", machine="m"), wait_s=60)

    task = made.tasks[0]
    assert (task.pool, task.max_attempts, task.timeout_s) == ("gpu", 3, 100)
    assert made.finish_by == at(60)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ((TaskSpec(id="a", machine="gone"),), "no machine is named 'gone'"),
        ((TaskSpec(id="a", machine="m"), TaskSpec(id="a", machine="m")), "same id"),
        ((TaskSpec(id="a", machine="m", needs=("b",)),), "not a task of this job"),
        (
            (TaskSpec(id="a", machine="m", needs=("b",)), TaskSpec(id="b", machine="m", needs=("a",))),
            "in a circle",
        ),
    ],
)
def test_a_job_that_can_never_run_is_made_as_failed_with_the_reason(asked: tuple[TaskSpec, ...], reason: str):
    made = job(*asked)

    assert made.state is JobState.FAILED
    assert reason in str(made.reason)
    assert {task.state for task in made.tasks} == {TaskState.CANCELLED}
    assert made.finished_at == T0
