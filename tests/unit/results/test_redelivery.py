"""When a webhook is called again."""

from __future__ import annotations

import pytest
from radbus_results.domain.redelivery import again_after


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
