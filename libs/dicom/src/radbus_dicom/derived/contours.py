"""Trace the outlines of a mask as polygons that give the same mask when they are filled by pixel centres."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
from contourpy import FillType, contour_generator
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""Corners [n, 2] as row and column, in pixels from the centre of the first; the first is not repeated at the end."""

_EDGE, _ABOVE = 0.5, 2.0
# Neither a corner nor the centre of a pixel lies a quarter of a pixel off a row, and no side runs there.
_CHANNEL = 0.25


def trace(mask: NDArray[np.bool_], *, most_holes: int | None = None) -> list[Polygon]:
    """Return one polygon for each connected part of `mask` [rows, columns].

    They run half-way between the centres of pixels inside and outside, and no centre lies on them. Pixels that touch
    at a corner only are parts of their own. A hole is joined to what is around it by a channel without width, walked
    in both directions: the keyhole technique of PS3.3 C.8.8.6.3. Its other one, CLOSEDPLANAR_XOR, is unknown to many
    readers.

    Of a part with more than `most_holes`, the smaller ones are filled: to join thousands takes seconds.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # A margin, so that what reaches the border is closed there.
    traced = contour_generator(z=np.pad(box, 1).astype(np.uint8), name="serial", fill_type=FillType.OuterOffset)
    # Rings of x and y; of each part the outer one comes first, then its holes.
    parts = cast("tuple[list[Polygon], list[NDArray[np.uint32]]]", traced.filled(_EDGE, _ABOVE))
    polygons = []
    for points, offsets in zip(*parts, strict=True):
        outer, *holes = (points[start : end - 1] for start, end in pairwise(offsets))
        kept = holes if most_holes is None else sorted(holes, key=len, reverse=True)[:most_holes]
        rings = [_corners(ring) for ring in (outer, *kept)]
        polygons.append(_keyholed(rings)[:, ::-1] + (rows[0] - 1, columns[0] - 1))
    return polygons


def _corners(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the points at which a ring runs straight on."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns: NDArray[np.bool_] = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return ring[turns]


def _keyholed(rings: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    polygon, *holes = rings
    # From left to right: what a hole meets on its left is part of the polygon already.
    for hole in sorted(holes, key=lambda ring: float(ring[:, 0].min())):
        polygon = _joined(polygon, hole)
    return polygon


def _joined(polygon: NDArray[np.float64], hole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Join a hole to the side of the polygon that is next on its left."""
    y = float(hole[np.argmin(hole[:, 0]), 1]) + _CHANNEL
    hole_sides, hole_x = _crossings(hole, y)
    entry = int(np.argmin(hole_x))
    sides, x = _crossings(polygon, y)
    exit_ = int(np.argmax(np.where(x < hole_x[entry], x, -np.inf)))
    cut = int(sides[exit_]) + 1
    channel = np.array([(x[exit_], y), (hole_x[entry], y)])
    around = np.roll(hole, -(int(hole_sides[entry]) + 1), axis=0)
    return np.concatenate([polygon[:cut], channel, around, channel[::-1], polygon[cut:]])


def _crossings(ring: NDArray[np.float64], y: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the sides of a ring, by their first corner, that cross the line at `y`, and where."""
    ends = np.roll(ring, -1, axis=0)
    sides = np.flatnonzero((ring[:, 1] < y) != (ends[:, 1] < y))
    (x, begin), (end_x, end) = ring[sides].T, ends[sides].T
    return sides, x + (y - begin) * (end_x - x) / (end - begin)
