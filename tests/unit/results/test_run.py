"""What the records of a run come to."""

from __future__ import annotations

import pytest
from radbus_results.domain.run import RunJob, RunOutcome, RunState, RunTask, run_of

MODEL = "PassThroughModel:1729"


def test_a_run_whose_job_is_not_there_yet_waits_but_not_for_ever():
    states = [run_of(MODEL, None, (), overdue=overdue).state for overdue in (False, True)]

    assert states == [RunState.PENDING, RunState.FAILED]


@pytest.mark.parametrize(
    ("tasks", "state", "progress"),
    [
        ((), RunState.PENDING, 0),
        ((RunTask("waiting"), RunTask("dispatched")), RunState.PENDING, 0),
        ((RunTask("running", 0.5),), RunState.RUNNING, 0.5),
        ((RunTask("succeeded"), RunTask("ready")), RunState.RUNNING, 0.5),
        ((RunTask("succeeded"),), RunState.RUNNING, 0.99),
    ],
)
def test_a_run_is_running_once_a_task_has_begun_and_is_never_done_before_its_job(tasks, state, progress):
    run = run_of(MODEL, RunJob("active", tasks), (), overdue=False)

    assert (run.state, run.progress) == (state, progress)


def test_the_result_of_a_run_is_the_structure_set_among_its_files():
    outcomes = (RunOutcome(files={"json": ["k/1.json"]}), RunOutcome(files={"rtstruct": ["k/rt.dcm"]}))

    run = run_of(MODEL, RunJob("completed"), outcomes, overdue=False)

    assert (run.state, run.progress, run.structure_set) == (RunState.COMPLETED, 1.0, "k/rt.dcm")


def test_a_run_on_what_is_no_volume_is_refused_and_says_why():
    outcomes = (RunOutcome(usable=False, summary="The archive is no zip."),)

    run = run_of(MODEL, RunJob("completed"), outcomes, overdue=False)

    assert (run.state, run.message) == (RunState.REFUSED, "The archive is no zip.")


def test_a_run_that_has_ended_without_a_structure_set_has_failed():
    run = run_of(MODEL, RunJob("completed"), (RunOutcome(files={"json": ["k/1.json"]}),), overdue=False)

    assert run.state is RunState.FAILED


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_job_that_ended_without_a_result_is_told_as_it_ended(state: RunState):
    run = run_of(MODEL, RunJob(state.value, reason="the worker was lost"), (), overdue=False)

    assert run.state is state
