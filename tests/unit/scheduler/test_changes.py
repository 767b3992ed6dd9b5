"""What becomes of a job when something is told of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given as each
from hypothesis import strategies as st
from radbus_contracts.facts import TaskSpec
from radbus_scheduler.domain.changes import (
    Backoff,
    cancelled,
    dispatched,
    expired,
    failed,
    given_back,
    lost,
    progressed,
    started,
    succeeded,
)
from radbus_scheduler.domain.job import Job, JobState, TaskState
from radbus_scheduler.domain.retrying import retried
from radbus_scheduler.domain.transitions import TASK_TRANSITIONS, has_ended, may_become, needs_dispatcher

from tests.unit.scheduler.builders import (
    BACKOFF,
    DEADLINE_S,
    MACHINES,
    T0,
    WAIT_S,
    at,
    failed_fact,
    given,
    in_flight,
    job,
    progressed_fact,
    started_fact,
    succeeded_fact,
)

CHAIN = (TaskSpec(id="a", machine="m"), TaskSpec(id="b", machine="report", needs=("a",)))
FAN = (TaskSpec(id="a", machine="m"), TaskSpec(id="b", machine="m"), TaskSpec(id="c", machine="m", needs=("a", "b")))


def states(of: Job) -> dict[str, TaskState]:
    return {task.id: task.state for task in of.tasks}


def failed_once(before: Job, attempt: int) -> Job:
    return given(failed(before, failed_fact(attempt=attempt), now=T0, backoff=BACKOFF))


def test_nothing_follows_on_an_end():
    ends = [state for state in TaskState if has_ended(state)]

    assert set(ends) == {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}
    assert all(may_become(state, TaskState.CANCELLED) for state in TaskState if state not in ends)
    assert set(TASK_TRANSITIONS) == set(TaskState)


def test_dispatching_begins_the_next_attempt():
    after = in_flight(job(), now=at(1))

    task = after.tasks[0]
    assert (task.state, task.attempt, task.dispatched_at) == (TaskState.DISPATCHED, 1, at(1))


def test_a_task_is_dispatched_once_for_each_attempt():
    after = in_flight(job())

    assert dispatched(after, "a", attempt=0, now=T0, deadline_s=DEADLINE_S) is None
    assert dispatched(after, "a", attempt=1, now=T0, deadline_s=DEADLINE_S) is None


def test_a_task_runs_when_its_worker_says_so_for_the_current_attempt():
    second = in_flight(failed_once(in_flight(job()), 1))

    assert started(second, started_fact(attempt=1), at(5)) is None
    assert given(started(second, started_fact(attempt=2), at(5))).tasks[0].state is TaskState.RUNNING


def test_progress_never_goes_back():
    half = given(progressed(in_flight(job()), progressed_fact(0.5)))

    assert half.tasks[0].progress == 0.5
    assert progressed(half, progressed_fact(0.4)) is None
    assert given(progressed(half, progressed_fact(0.6))).tasks[0].progress == 0.6


def test_a_task_becomes_ready_when_the_last_of_what_it_needs_has_succeeded():
    both = in_flight(in_flight(job(*FAN), "a"), "b")

    one = given(succeeded(both, succeeded_fact("b"), at(1)))
    two = given(succeeded(one, succeeded_fact("a"), at(2)))

    assert states(one)["c"] is TaskState.WAITING
    assert states(two)["c"] is TaskState.READY
    assert two.tasks[2].ready_at == at(2)


def test_a_job_is_complete_when_its_last_task_has_succeeded():
    after = given(succeeded(in_flight(job()), succeeded_fact(), at(3)))

    assert (after.state, after.finished_at) == (JobState.COMPLETED, at(3))
    assert after.tasks[0].outcome_id == "job/a/1"


def test_the_first_success_wins_also_when_it_is_of_an_older_attempt():
    second = in_flight(given(lost(in_flight(job()), "a", attempt=1, reason="gone", now=T0, backoff=BACKOFF)))

    after = given(succeeded(second, succeeded_fact(attempt=1), at(9)))

    assert after.tasks[0].outcome_id == "job/a/1"
    assert succeeded(after, succeeded_fact(attempt=2), at(10)) is None


def test_an_older_attempt_may_succeed_while_the_next_one_waits():
    waiting = given(lost(in_flight(job()), "a", attempt=1, reason="gone", now=T0, backoff=BACKOFF))

    assert given(succeeded(waiting, succeeded_fact(attempt=1), at(1))).state is JobState.COMPLETED


def test_a_failed_attempt_is_followed_by_another_after_a_wait_that_doubles():
    first = failed_once(in_flight(job()), 1)
    second = failed_once(in_flight(first), 2)

    assert (first.tasks[0].state, first.tasks[0].not_before) == (TaskState.READY, at(2))
    assert (second.tasks[0].not_before, second.tasks[0].reason) == (at(4), "no memory")
    assert dispatched(second, "a", attempt=2, now=at(3.9), deadline_s=DEADLINE_S) is None


def test_an_older_attempts_failure_says_nothing():
    second = in_flight(failed_once(in_flight(job()), 1))

    assert failed(second, failed_fact(attempt=1), now=T0, backoff=BACKOFF) is None


def test_the_same_failure_told_twice_costs_one_attempt():
    after = failed_once(in_flight(job()), 1)

    assert failed(after, failed_fact(attempt=1), now=T0, backoff=BACKOFF) is None


def test_a_job_fails_when_a_task_has_used_up_its_attempts_and_its_other_tasks_are_cancelled():
    tried = job(*FAN)
    for attempt in (1, 2, 3):
        tried = failed_once(in_flight(tried), attempt)

    assert (tried.state, tried.reason) == (JobState.FAILED, "task a: no memory")
    assert states(tried) == {"a": TaskState.FAILED, "b": TaskState.CANCELLED, "c": TaskState.CANCELLED}


def test_a_failure_for_which_another_attempt_is_of_no_use_fails_the_job_at_once():
    after = given(failed(in_flight(job()), failed_fact(again=False), now=T0, backoff=BACKOFF))

    assert after.state is JobState.FAILED


def test_a_task_whose_workers_are_lost_each_time_fails_with_that_reason():
    tried = job()
    for attempt in (1, 2, 3):
        tried = given(
            lost(in_flight(tried), "a", attempt=attempt, reason="its worker was lost", now=T0, backoff=BACKOFF)
        )

    assert tried.tasks[0].reason == "its worker was lost (attempt 3 of 3)"
    assert tried.state is JobState.FAILED


def test_a_task_that_its_worker_gave_back_is_ready_at_once_and_has_lost_no_attempt():
    after = given(given_back(in_flight(job()), "a", attempt=1, now=at(7)))

    task = after.tasks[0]
    assert (task.state, task.not_before) == (TaskState.READY, at(7))
    assert task.max_attempts - task.attempt == 3


def test_a_cancelled_job_has_no_task_left_to_do_and_takes_nothing_more():
    running = given(started(in_flight(job(*FAN)), started_fact(), T0))

    after = given(cancelled(running, "not wanted", at(1)))

    assert after.state is JobState.CANCELLED
    assert set(states(after).values()) == {TaskState.CANCELLED}
    assert succeeded(after, succeeded_fact(), at(2)) is None
    assert cancelled(after, "again", at(2)) is None


def test_a_jobs_deadline_runs_from_when_its_first_task_is_handed_out_however_long_it_has_waited():
    running = in_flight(job(), now=at(WAIT_S - 1))
    end_s = WAIT_S - 1 + DEADLINE_S

    assert expired(running, at(end_s - 0.1)) is None
    after = given(expired(running, at(end_s)))
    assert (after.state, after.reason) == (JobState.FAILED, "the job's deadline has passed")


def test_a_job_that_nobody_begins_fails_when_it_has_waited_too_long_and_not_before():
    waiting = job()

    assert expired(waiting, at(WAIT_S - 0.1)) is None
    after = given(expired(waiting, at(WAIT_S)))
    assert (after.state, after.reason) == (JobState.FAILED, "no worker was free to begin it in time")


def test_no_later_task_and_no_later_attempt_moves_a_jobs_deadline():
    first = in_flight(job(*CHAIN), now=at(1))
    second = in_flight(given(failed(first, failed_fact(), now=at(2), backoff=BACKOFF)), now=at(5))
    last = in_flight(given(succeeded(second, succeeded_fact(attempt=2), at(6))), "b", now=at(7))

    assert {each.finish_by for each in (first, second, last)} == {at(1 + DEADLINE_S)}


def test_a_job_that_has_ended_does_not_expire():
    done = given(succeeded(in_flight(job()), succeeded_fact(), at(1)))

    assert expired(done, at(1 + DEADLINE_S + WAIT_S)) is None


def test_the_dispatcher_is_woken_by_what_becomes_ready_or_free_and_by_nothing_else():
    first = job()
    out = in_flight(first)
    running = given(started(out, started_fact(), T0))

    assert needs_dispatcher(None, first)
    assert not needs_dispatcher(first, out)
    assert not needs_dispatcher(out, running)
    assert needs_dispatcher(running, given(succeeded(running, succeeded_fact(), T0)))


@each(attempt=st.integers(1, 1000))
def test_the_wait_between_attempts_never_shrinks_and_has_a_limit(attempt: int):
    backoff = Backoff(first_s=2, limit_s=60)

    assert backoff.after(attempt) <= backoff.after(attempt + 1)
    assert backoff.after(attempt).total_seconds() <= 60


FACTS = st.lists(
    st.tuples(
        st.sampled_from(["dispatch", "start", "succeed", "fail", "lose", "give back", "cancel", "retry"]),
        st.sampled_from("abc"),
        st.integers(1, 4),
    ),
    max_size=40,
)


@each(facts=FACTS)
def test_whatever_is_told_in_whatever_order_only_a_retry_follows_on_an_end_and_a_completed_job_has_every_outcome(facts):
    now, held = job(*FAN), [job(*FAN)]

    for kind, task_id, attempt in facts:
        now = _told(now, kind, task_id, attempt) or now
        held.append(now)

    for before, after in pairwise(held):
        assert before.state is JobState.ACTIVE or after == before or after.retries == before.retries + 1
        for old, new in zip(before.tasks, after.tasks, strict=True):
            assert old.state is new.state or may_become(old.state, new.state)
            assert new.attempt >= old.attempt
    if now.state is JobState.COMPLETED:
        assert all(task.outcome_id for task in now.tasks)
    if now.state is not JobState.ACTIVE:
        assert all(has_ended(task.state) for task in now.tasks)


def _told(before: Job, kind: str, task_id: str, attempt: int) -> Job | None:
    changes: dict[str, Callable[[], Job | None]] = {
        "dispatch": lambda: dispatched(before, task_id, attempt=attempt - 1, now=at(1000), deadline_s=DEADLINE_S),
        "start": lambda: started(before, started_fact(task_id, attempt), T0),
        "succeed": lambda: succeeded(before, succeeded_fact(task_id, attempt), T0),
        "fail": lambda: failed(before, failed_fact(task_id, attempt), now=T0, backoff=BACKOFF),
        "lose": lambda: lost(before, task_id, attempt=attempt, reason="gone", now=T0, backoff=BACKOFF),
        "give back": lambda: given_back(before, task_id, attempt=attempt, now=T0),
        "cancel": lambda: cancelled(before, "not wanted", T0),
        "retry": lambda: retried(before, machines=MACHINES, now=T0, wait_s=WAIT_S),
    }
    return changes[kind]()
