"""A model that answers nobody for too long is told; a busy one, and one that dislikes the canary, is not."""

from __future__ import annotations

import pytest
from radbus_machines.silence import Canary, Silences


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def silences(clock) -> Silences:
    return Silences(100, clock=clock)


def test_a_model_whose_canary_is_late_for_longer_than_any_inference_may_take_does_not_answer(clock, silences):
    assert silences.judge("m", Canary.LATE, answers=7) is None
    clock.now_s = 99
    assert silences.judge("m", Canary.LATE, answers=7) is None

    clock.now_s = 100

    assert silences.judge("m", Canary.LATE, answers=7) == "model m does not answer, for more than 100 s"
    assert silences.judge("other", Canary.LATE, answers=7) is None


@pytest.mark.parametrize("answers", [8, 0], ids=["has answered somebody", "was loaded anew"])
def test_a_model_that_was_heard_of_meanwhile_is_busy(clock, silences, answers):
    silences.judge("m", Canary.LATE, answers=7)
    clock.now_s = 99
    silences.judge("m", Canary.LATE, answers=answers)

    clock.now_s = 198

    assert silences.judge("m", Canary.LATE, answers=answers) is None


def test_a_canary_that_is_answered_ends_the_silence(clock, silences):
    silences.judge("m", Canary.LATE, answers=7)
    clock.now_s = 100

    silences.judge("m", Canary.ANSWERED, answers=8)

    assert silences.judge("m", Canary.LATE, answers=8) is None


def test_a_model_that_fails_at_the_canary_runs(clock, silences):
    silences.judge("m", Canary.FAILED, answers=7)

    clock.now_s = 1000

    assert silences.judge("m", Canary.FAILED, answers=7) is None
