"""Letting a job that has failed or was cancelled go on."""

from __future__ import annotations

import json

import pytest
from radbus_contracts.facts import TaskSpec
from radbus_runtime.events import Outgoing, Teller
from radbus_scheduler.adapters.job_documents import job_document, job_of
from radbus_scheduler.domain.changes import cancelled, dispatched, failed, succeeded
from radbus_scheduler.domain.job import Job, JobState, TaskState
from radbus_scheduler.domain.retrying import retried, why_not_retried
from radbus_scheduler.handlers.telling import messages_of

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
    machine,
    planned,
    request_on_archive,
    succeeded_fact,
)

CHAIN = (TaskSpec(id="a", machine="m"), TaskSpec(id="b", machine="report", needs=("a",)))


def failed_for_good(before: Job, task_id: str = "a") -> Job:
    running = in_flight(before, task_id)
    told = failed_fact(task_id, running.task(task_id).attempt, again=False)
    return given(failed(running, told, now=at(5), backoff=BACKOFF))


def let_go_on(before: Job, **machines: object) -> Job:
    return given(retried(before, machines={**MACHINES, **machines}, now=at(100), wait_s=WAIT_S))


def why_not(before: Job, *, newest_revision: int = 1, machines: object = MACHINES, erased: bool = False) -> str | None:
    return why_not_retried(before, machines=machines, newest_revision=newest_revision, erased=erased)


def told(before: Job, after: Job) -> list[Outgoing]:
    return messages_of(Teller("scheduler"), before, after)


def test_what_failed_begins_anew_with_fresh_attempts_that_are_counted_on():
    before = failed_for_good(job())

    after = let_go_on(before)

    task = after.tasks[0]
    assert (after.state, after.reason, after.finished_at) == (JobState.ACTIVE, None, None)
    assert (after.begun_at, after.finish_by) == (None, at(100 + WAIT_S))
    assert (task.state, task.attempt, task.max_attempts, task.ready_at) == (TaskState.READY, 1, 4, at(100))
    begun = given(dispatched(after, "a", attempt=1, now=at(200), deadline_s=DEADLINE_S))
    assert (begun.tasks[0].attempt, begun.finish_by) == (2, at(200 + DEADLINE_S))


def test_what_has_succeeded_stays_and_what_waited_for_it_is_ready():
    before = failed_for_good(given(succeeded(in_flight(job(*CHAIN)), succeeded_fact(), at(1))), "b")

    after = let_go_on(before)

    assert after.task("a") == before.task("a")
    assert after.task("b").state is TaskState.READY


def test_what_waits_for_something_that_failed_waits_again():
    after = let_go_on(failed_for_good(job(*CHAIN)))

    assert [task.state for task in after.tasks] == [TaskState.READY, TaskState.WAITING]
    assert given(succeeded(in_flight(after, now=at(100)), succeeded_fact(attempt=2), at(101))).task("b").ready_at


def test_a_task_is_run_by_what_its_machine_is_now():
    before = job(TaskSpec(id="a", machine="new"))

    after = let_go_on(before, new=machine("new", pool="another", max_attempts=5, timeout_s=7))

    task = after.tasks[0]
    assert before.state is JobState.FAILED
    assert (task.pool, task.max_attempts, task.timeout_s) == ("another", 5, 7)


def test_a_job_that_goes_on_already_is_retried_by_nobody_else():
    after = let_go_on(failed_for_good(job()))

    assert why_not(after) is None
    assert retried(after, machines=MACHINES, now=at(200), wait_s=1) is None


@pytest.mark.parametrize(
    ("before", "newest_revision", "why"),
    [
        (job(), 1, "this one is active"),
        (given(succeeded(in_flight(job()), succeeded_fact(), T0)), 1, "this one is completed"),
        (failed_for_good(job()), 2, "revision 2 has taken this one's place"),
        (failed_for_good(planned(request_on_archive())), 1, "whose zip is erased when it ends"),
        (job(TaskSpec(id="a", machine="gone")), 1, "no machine is named 'gone'"),
        (job(TaskSpec(id="a", machine="m", needs=("a",))), 1, "in a circle"),
    ],
    ids=["active", "completed", "an older revision", "on an archive", "without its machine", "never possible"],
)
def test_a_job_for_which_it_makes_no_sense_is_refused_with_the_reason(before, newest_revision, why):
    assert why in why_not(before, newest_revision=newest_revision)


def test_a_job_of_which_outputs_were_erased_is_refused_and_one_that_goes_on_already_is_not():
    before = failed_for_good(given(succeeded(in_flight(job(*CHAIN)), succeeded_fact(), at(1))), "b")

    refused, going_on = why_not(before, erased=True), why_not(let_go_on(before), erased=True)

    assert "outputs of this one were" in refused
    assert going_on is None


def test_each_retry_and_each_failure_is_a_fact_of_its_own():
    first = failed_for_good(job())
    once = let_go_on(first)
    second = given(cancelled(once, "not wanted", at(101)))
    twice = let_go_on(second)
    third = given(cancelled(twice, "not wanted", at(102)))

    pairs = ((first, once), (once, second), (second, twice), (twice, third))
    facts = [message for before, after in pairs for message in told(before, after)]

    keys = ["job.retried.v1", "job.failed.v1"] * 2
    assert [(fact.routing_key, json.loads(fact.body)["data"]["retries"]) for fact in facts] == list(
        zip(keys, (1, 1, 2, 2), strict=True)
    )
    assert len({fact.id for fact in facts}) == 4
    assert [fact.id for fact in told(first, once)] == [facts[0].id]


def test_a_retried_job_is_kept_as_it_is_and_one_of_before_there_were_retries_can_be_read():
    after = let_go_on(failed_for_good(job()))
    document = job_document(after)

    older = {name: value for name, value in document.items() if name != "retries"}

    assert job_of(document) == after
    assert job_of(older).retries == 0
