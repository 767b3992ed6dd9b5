"""Contours of a mask, filled by the centres of pixels, are the mask again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from radbus_dicom.derived.contours import Polygon, trace

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.booleans())
RING = np.pad(np.zeros((2, 2), np.bool_), 2, constant_values=True)
HOLES = np.ones((7, 13), np.bool_)
HOLES[1:3, 1:3] = HOLES[1:3, 5:7] = HOLES[2, 9] = HOLES[4, 2] = HOLES[4:6, 4] = HOLES[5, 6:12] = False
NESTED = np.pad(np.pad(RING, 1), 1, constant_values=True)


def filled(polygons: list[Polygon], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill polygons one by one by the even-odd rule, at the centres of pixels only."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    whole = np.zeros(shape, np.bool_)
    for polygon in polygons:
        inside = np.zeros(shape, np.bool_)
        for (row, column), (next_row, next_column) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if row == next_row:
                continue
            crosses = (row <= rows) != (next_row <= rows)
            inside ^= crosses & (columns < column + (rows - row) * (next_column - column) / (next_row - row))
        assert not (inside & whole).any(), "two contours overlap"
        whole |= inside
    return whole


@given(MASKS)
@example(RING)
@example(HOLES)
@example(NESTED)
@example(np.eye(5, dtype=np.bool_))
@example(~np.eye(5, dtype=np.bool_))
@example(np.ones((1, 1), np.bool_))
@settings(max_examples=300, deadline=None)
def test_filling_the_contours_of_a_mask_gives_the_mask(mask):
    assert np.array_equal(filled(trace(mask), mask.shape), mask)


@given(MASKS)
@example(HOLES)
@settings(max_examples=100, deadline=None)
def test_no_centre_of_a_pixel_lies_on_a_contour(mask):
    for polygon in trace(mask):
        for begin, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            points = begin + np.linspace(0, 1, 57)[:, None] * (end - begin)
            assert np.abs(points - np.round(points)).max(axis=1).min() >= 0.2


def test_islands_and_pixels_that_touch_at_a_corner_are_contours_of_their_own():
    mask = np.eye(3, dtype=np.bool_)

    assert len(trace(mask)) == 3


@pytest.mark.parametrize(("mask", "contours"), [(RING, 1), (HOLES, 1), (NESTED, 2)])
def test_holes_are_joined_to_what_is_around_them(mask, contours):
    assert len(trace(mask)) == contours


def test_a_contour_has_corners_only_and_does_not_repeat_its_first():
    (polygon,) = trace(np.ones((40, 50), np.bool_))

    assert len(polygon) == 8
    assert (polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()) == ([-0.5, -0.5], [39.5, 49.5])
    assert polygon[0].tolist() != polygon[-1].tolist()


def test_where_there_are_more_holes_than_asked_for_the_smaller_ones_are_filled():
    mask = np.ones((9, 20), np.bool_)
    mask[2:6, 2:8] = mask[4, 12] = mask[6, 15] = False

    traced = filled(trace(mask, most_holes=1), mask.shape)

    assert not traced[2:6, 2:8].any()
    assert traced.sum() == mask.sum() + 2
    assert np.array_equal(filled(trace(mask), mask.shape), mask)


def test_nothing_has_no_contour():
    assert trace(np.zeros((3, 4), np.bool_)) == []
