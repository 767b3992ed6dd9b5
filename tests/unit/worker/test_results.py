"""What an error means for the task."""

from __future__ import annotations

from radbus_contracts.errors import PermanentError, TransientError
from radbus_worker.domain.results import Failure, failure_of, not_usable, too_slow


def test_an_error_at_the_inputs_fault_is_not_tried_again():
    assert failure_of(PermanentError("expected a chest")) == Failure("expected a chest", again=False)


def test_an_error_that_may_pass_is_tried_again():
    assert failure_of(TransientError("a store is away")) == Failure("a store is away", again=True)


def test_a_slow_attempt_is_tried_again_and_says_its_limit():
    assert too_slow(12.4) == Failure("took longer than 12 s", again=True)


def test_images_that_cannot_be_judged_are_an_answer_that_says_why():
    output = not_usable("Expected one orientation.")

    assert not output.usable
    assert output.summary == "Expected one orientation."
    assert output.limits == ("Expected one orientation.",)
    assert output.values == {}
