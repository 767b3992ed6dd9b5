"""When an attempt is given up."""

from __future__ import annotations

from dataclasses import replace

from radbus_scheduler.domain.changes import started
from radbus_scheduler.domain.job import Task
from radbus_scheduler.domain.limits import Evidence, Finding, GivenBack, Lease, Limits, Lost, Started, judge, reasons

from tests.unit.scheduler.builders import T0, at, given, in_flight, job, started_fact

LIMITS = Limits(lease_stale_s=1, start_timeout_s=30, overrun_s=10)
DISPATCHED = in_flight(job()).tasks[0]
RUNNING = given(started(in_flight(job()), started_fact(), T0)).tasks[0]
LEASE = Lease(attempt=1, worker="w", until=at(10), released=False)


def judged(task: Task, seconds: float, *, lease=None, has_outcome=False, idle_since=T0) -> Finding | None:
    return judge(task, Evidence(lease, has_outcome, idle_since), limits=LIMITS, now=at(seconds))


def test_a_task_whose_lease_is_renewed_goes_on():
    assert judged(RUNNING, 11, lease=LEASE) is None


def test_a_task_whose_lease_is_stale_has_lost_its_worker():
    assert judged(RUNNING, 11.1, lease=LEASE) == Lost("its worker was lost")


def test_a_lease_that_was_given_up_is_taken_over_at_once():
    assert judged(RUNNING, 1, lease=replace(LEASE, released=True)) == GivenBack()


def test_an_attempt_with_an_outcome_waits_for_its_fact_whatever_became_of_its_lease():
    assert judged(RUNNING, 50, lease=replace(LEASE, released=True), has_outcome=True) is None


def test_a_lease_of_an_attempt_whose_start_was_not_told_starts_it():
    assert judged(DISPATCHED, 1, lease=LEASE) == Started("w")


def test_a_lease_of_an_older_attempt_does_not_count():
    second = replace(DISPATCHED, attempt=2)

    assert judged(second, 29, lease=LEASE) is None
    assert judged(second, 31, lease=LEASE) == Lost("no worker took it in 30 s")


def test_an_order_that_only_waits_for_a_slot_is_not_lost():
    assert judged(DISPATCHED, 500, idle_since=None) is None
    assert judged(DISPATCHED, 500, idle_since=at(480)) is None
    assert judged(DISPATCHED, 511, idle_since=at(480)) == Lost("no worker took it in 30 s")


def test_an_attempt_that_overruns_its_machines_timeout_is_given_up_though_its_lease_is_renewed():
    lease = replace(LEASE, until=at(500))

    assert judged(RUNNING, 110, lease=lease) is None
    assert judged(RUNNING, 110.1, lease=lease) == Lost("took longer than 100 s")
    assert judged(RUNNING, 110.1, has_outcome=True) == Lost("took longer than 100 s")


def test_a_running_task_without_any_lease_is_lost_after_a_while():
    assert judged(RUNNING, 30) is None
    assert judged(RUNNING, 31) == Lost("its worker was lost")


def test_what_is_said_of_a_lost_attempt_is_among_the_reasons_that_are_known_before():
    found = [
        judged(RUNNING, 11.1, lease=LEASE),
        judged(replace(RUNNING, timeout_s=20), 31),
        judged(DISPATCHED, 31),
    ]

    assert {each.reason for each in found} < set(reasons(20, LIMITS))
