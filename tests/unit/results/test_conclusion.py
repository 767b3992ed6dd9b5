"""The one answer for several use cases or series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from radbus_contracts.facts import TriageStatus
from radbus_results.domain.case import Completed, Failed, OnRequest, Undecided, UnderProcess, Unrouted
from radbus_results.domain.conclusion import Shown, Waiting, conclude

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def result(inference_id: str, *, critical: bool = False, usable: bool = True, minute: int = 0) -> Completed:
    status = TriageStatus.CRITICAL if critical else TriageStatus.ROUTINE
    return Completed(inference_id, status, usable=usable, completed_at=T0 + timedelta(minutes=minute))


def failure(job_id: str = "j9") -> Failed:
    return Failed(job_id, "qct", "no", cancelled=False, failed_at=T0)


def test_the_most_severe_result_is_first_then_the_newest():
    found = [result("old"), result("critical", critical=True), result("new", minute=5)]

    conclusion = conclude(found)

    assert isinstance(conclusion, Shown)
    assert [each.inference_id for each in conclusion.results] == ["critical", "new", "old"]


def test_a_usable_result_is_shown_before_one_that_is_not():
    found = [result("unusable", usable=False, minute=5), result("usable")]

    conclusion = conclude(found)

    assert isinstance(conclusion, Shown)
    assert conclusion.results[0].inference_id == "usable"


def test_a_routine_result_waits_until_nothing_is_under_process():
    found = [result("routine"), UnderProcess("j2"), Undecided("1.2.3", 1)]

    conclusion = conclude(found)

    assert conclusion == Waiting(("j2",), ended=1, total=3)


def test_a_critical_result_is_shown_at_once():
    found = [UnderProcess("j2"), result("critical", critical=True)]

    conclusion = conclude(found)

    assert conclusion == Shown((result("critical", critical=True),), (), 1)


def test_a_failure_beside_a_usable_result_is_named_with_it():
    found = [failure(), result("routine")]

    conclusion = conclude(found)

    assert conclusion == Shown((result("routine"),), (failure(),), 0)


def test_a_failure_weighs_more_than_images_that_cannot_be_judged():
    found = [result("unusable", usable=False), failure()]

    conclusion = conclude(found)

    assert conclusion == failure()


def test_images_that_cannot_be_judged_are_a_result_of_their_own():
    found = [result("unusable", usable=False), Unrouted("localizer")]

    conclusion = conclude(found)

    assert conclusion == Shown((result("unusable", usable=False),), (), 0)


def test_series_without_a_use_case_do_not_hide_the_others():
    found = [Unrouted("localizer"), result("routine")]

    conclusion = conclude(found)

    assert isinstance(conclusion, Shown)


def test_what_nobody_asked_for_is_said_before_what_no_use_case_is_for():
    found = [Unrouted("localizer"), OnRequest("1.2.3")]

    conclusion = conclude(found)

    assert conclusion == OnRequest("1.2.3")


def test_the_reasons_of_several_series_are_all_given_once():
    found = [Unrouted("localizer"), Unrouted("MR"), Unrouted("localizer")]

    conclusion = conclude(found)

    assert conclusion == Unrouted("localizer MR")
