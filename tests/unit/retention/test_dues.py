"""What of a study is due when, and what must not be erased yet; no clock but the one that is given."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from radbus_runtime.retention.order import Kind, What
from radbus_runtime.retention.picture import JobSeen, Picture, SeriesSeen, dues_of
from radbus_runtime.retention.policy import RetentionPolicy, _File
from radbus_runtime.retention.sweeping import order_of

CAME = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = CAME + timedelta(hours=1)


def days(count: int) -> timedelta:
    return timedelta(days=count)


def policy(text: str) -> RetentionPolicy:
    return RetentionPolicy(_File.model_validate(yaml.safe_load(text)))


def series(uid: str = "1.2.3", **changes) -> SeriesSeen:
    return replace(SeriesSeen(uid=uid, receiving=False, erased=False, routed=True, last_at=CAME), **changes)


def job(job_id: str = "j", use_case: str = "qct", *, of: tuple[str, ...] = ("1.2.3",), **changes) -> JobSeen:
    seen = JobSeen(
        id=job_id,
        use_case=use_case,
        subject_uid=of[0],
        revision=1,
        series_instance_uids=of,
        asked_at=CAME,
        ended_at=ENDED,
        erased=False,
    )
    return replace(seen, **changes)


def study(*, jobs=None, of=None, **changes) -> Picture:
    seen, made = tuple([series()] if of is None else of), tuple([job()] if jobs is None else jobs)
    return replace(
        Picture(institution="north", study_instance_uid="1.2", last_at=CAME, series=seen, jobs=made), **changes
    )


TWO = policy("use_cases: {qct: {inputs_days: 10, outputs_days: 20}, tb: {inputs_days: 30, outputs_days: 5}}")


def test_inputs_that_two_use_cases_share_go_with_the_longer_period_and_outputs_each_with_its_own():
    dues = dues_of(study(jobs=[job("a"), job("b", "tb")]), TWO)

    assert dues.inputs_at == ENDED + days(30)
    assert dues.outputs_at == {"a": ENDED + days(20), "b": ENDED + days(5)}
    assert dues.records_at is None


def test_a_series_for_no_use_case_goes_with_the_period_of_its_institution():
    kept = policy("{default: {inputs_days: 3}, institutions: {north: {inputs_days: 7}}}")

    assert dues_of(study(jobs=[]), kept).inputs_at == CAME + days(7)


def test_inputs_of_a_study_wait_for_the_last_of_its_series_even_one_that_is_kept_for_ever():
    of = [series("1.2.3"), series("1.2.4", last_at=CAME + days(1))]
    kept = policy("{default: {inputs_days: 50}, use_cases: {qct: {inputs_days: 10}}}")
    forever = policy("{use_cases: {qct: {inputs_days: 10}}}")

    assert dues_of(study(of=of), kept).inputs_at == CAME + days(51)
    assert dues_of(study(of=of), forever).inputs_at is None


def test_a_late_instance_begins_the_period_of_inputs_anew():
    late = study(of=[series(last_at=CAME + days(100))], last_at=CAME + days(100))

    assert dues_of(late, TWO).inputs_at == CAME + days(110)


def test_nothing_but_outputs_is_due_while_a_job_is_active():
    dues = dues_of(study(jobs=[job("a"), job("b", "tb", ended_at=None)]), TWO)

    assert (dues.inputs_at, dues.records_at) == (None, None)
    assert set(dues.outputs_at) == {"a"}


def test_records_go_last_of_all_and_take_everything_with_them():
    kept = policy("default: {inputs_days: 1, outputs_days: 2, records_days: 30}")
    seen = study()
    dues = dues_of(seen, kept)

    before = order_of(Kind.STUDY, "1.2", seen, dues, ENDED + days(29))
    after = order_of(Kind.STUDY, "1.2", seen, dues, ENDED + days(30))

    assert before.what == (What.INPUTS, What.OUTPUTS)
    assert before.job_ids == ("j",)
    assert after.what == (What.INPUTS, What.OUTPUTS, What.RECORDS)
    assert after.due_at == ENDED + days(1)


def test_what_is_erased_already_is_not_due_again():
    seen = study(jobs=[job(erased=True)], of=[series(erased=True)])

    assert order_of(Kind.STUDY, "1.2", seen, dues_of(seen, TWO), ENDED + days(1000)) is None


def test_nothing_is_due_before_its_day():
    seen = study()

    assert order_of(Kind.STUDY, "1.2", seen, dues_of(seen, TWO), ENDED + days(10) - timedelta(seconds=1)) is None
    assert dues_of(seen, TWO).until(ENDED) == ENDED + days(10)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"receiving": True}, "still coming in"),
        ({"series": (series(receiving=True),)}, "still coming in"),
        ({"jobs": (job(ended_at=None),)}, "is under process"),
        ({"jobs": (job(running=True),)}, "still at an attempt"),
        ({"jobs": (job(use_case=None),)}, "not made yet"),
        ({"jobs": (job(recorded=False),)}, "not recorded yet"),
        ({"untold": True}, "not told yet"),
        ({"series": (series(routed=False),)}, "not routed yet"),
    ],
)
def test_nothing_is_erased_while_something_goes_on(changes, reason):
    assert study().busy(ENDED) is None
    assert reason in replace(study(), **changes).busy(ENDED)


def test_what_was_never_routed_or_made_does_not_hold_up_a_purge_for_ever():
    lost = study(jobs=[job(use_case=None), job("k", recorded=False)], of=[series(routed=False)])

    assert lost.busy(ENDED + days(2)) is None
