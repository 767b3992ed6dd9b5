"""What `radbus models compare` calls the same."""

from __future__ import annotations

import numpy as np
import pytest
from radbus_cli.models import NotComparableError, differences_of

ONES = {"MASKS": np.ones((1, 3, 4, 4), np.float32)}


def test_the_difference_is_the_largest_of_any_value_by_place_and_output():
    moved = {"MASKS": ONES["MASKS"].copy()}
    moved["MASKS"][0, 1, 2, 3] += 0.5

    assert differences_of({"a": ONES, "b": moved, "c": ONES}) == {("b", "MASKS"): 0.5, ("c", "MASKS"): 0.0}


def test_numbers_that_are_none_are_never_the_same():
    broken = {"MASKS": np.full((1, 3, 4, 4), np.nan, np.float32)}

    assert not differences_of({"a": ONES, "b": broken})["b", "MASKS"] <= 1e9


@pytest.mark.parametrize("other", [{}, {"MASKS": np.ones((1, 3, 4), np.float32)}, {"MASKS": np.ones((1, 3, 4, 4))}])
def test_an_output_that_is_missing_or_of_another_shape_or_type_cannot_be_compared(other):
    with pytest.raises(NotComparableError, match="MASKS"):
        differences_of({"a": ONES, "b": other})


def test_one_place_alone_is_no_comparison():
    with pytest.raises(NotComparableError, match="two places"):
        differences_of({"a": ONES})
