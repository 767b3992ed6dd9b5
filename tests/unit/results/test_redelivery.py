"""When a webhook is called again."""

from __future__ import annotations

import pytest
from radbus_results.domain.redelivery import Line, again_after


def test_each_time_it_takes_longer_up_to_four_hours():
    waits = [again_after(tries, asked_s=None, chance=0.5) for tries in range(1, 12)]

    assert waits == sorted(waits)
    assert waits[0] == 5
    assert waits[-1] == 4 * 3600


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 4), (1.0, 6)])
def test_what_failed_together_is_spread(chance, wait):
    assert again_after(1, asked_s=None, chance=chance) == pytest.approx(wait)


@pytest.mark.parametrize(("asked_s", "wait"), [(60, 60), (1, 5), (10**9, 4 * 3600)])
def test_a_receiver_is_not_called_before_it_asks_for_it_within_four_hours(asked_s, wait):
    assert again_after(1, asked_s=asked_s, chance=0.5) == wait


def test_a_receiver_that_answers_is_called_by_four_at_a_time():
    assert not Line(called=3).is_busy(0)
    assert Line(called=4).is_busy(0)


def test_one_that_is_away_is_left_alone_for_longer_each_time_and_tried_by_one_call():
    line, now, pauses = Line(), 100.0, []
    for _ in range(9):
        line.note(now, is_away=True)
        line.note(now + 0.1, is_away=True)  # another call that failed with it
        assert line.is_busy(line.paused_until - 0.1)
        pauses.append(line.paused_until - now)
        now = line.paused_until
        assert not line.is_busy(now)
        assert Line(1, line.pause_s, line.paused_until).is_busy(now)

    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    line.note(now, is_away=False)
    assert line == Line()
