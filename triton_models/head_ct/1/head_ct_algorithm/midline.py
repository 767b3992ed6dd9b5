"""The middle of the head: where the skull says it should be, and where the ventricles are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from head_ct_algorithm.brain import Brain
from head_ct_algorithm.grid import Grid, Mask, opened

_LEAST_WIDTH_MM = 70.0
_FLUID_HU = 19.0
_DEEP_MM = 22.0
_BESIDE_MM = 32.0
_WIDEST_GAP_MM = 16.0
_LEAST_ROWS_MM = 8.0
_ALONG_MM = 9.0
_ROUNDS = 6
_OUTLIER_MM = 2.5

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class MidPlane:
    """x = a + b * y + c * z, in millimetres from the corner of the grid: where both halves of the skull meet."""

    a: float
    b: float
    c: float

    def of(
        self, y_mm: NDArray[np.floating[Any]] | float, z_mm: NDArray[np.floating[Any]] | float
    ) -> NDArray[np.float64]:
        """Return x for places on the plane."""
        return np.asarray(self.a + self.b * np.asarray(y_mm) + self.c * np.asarray(z_mm))


@dataclass(frozen=True, slots=True)
class Shift:
    """How far the middle between the ventricles lies off the plane, growing to the left; in which coarse plane, row."""

    left_mm: float
    plane: int
    row: int


def find_mid_plane(grid: Grid, brain: Brain) -> MidPlane | None:
    """Fit a plane to the middles of the skull's inside, row by row, without the rows that do not agree."""
    sz, sy, sx = grid.spacing_mm
    filled = brain.inside
    first = filled.argmax(axis=2)
    last = filled.shape[2] - 1 - filled[:, :, ::-1].argmax(axis=2)
    wide = filled.any(axis=2) & ((last - first) * sx > _LEAST_WIDTH_MM)
    if wide.sum() < 50:
        return None
    z, y = np.nonzero(wide)
    x_mm = (first[wide] + last[wide]) / 2 * sx
    terms = np.column_stack([np.ones(len(x_mm)), y * sy, z * sz])
    keep = np.ones(len(x_mm), bool)
    solution = np.zeros(3)
    for _ in range(_ROUNDS):
        solution, *_ = np.linalg.lstsq(terms[keep], x_mm[keep], rcond=None)
        keep = np.abs(terms @ solution - x_mm) < _OUTLIER_MM
        if keep.sum() < 50:
            return None
    return MidPlane(*(float(value) for value in solution))


def find_shift(grid: Grid, brain: Brain, plane: MidPlane, smooth: NDArray[np.float32]) -> Shift | None:
    """Measure the largest shift of the ventricles' middle, or nothing where they are not seen on both sides."""
    fluid = _ventricles(grid, brain, plane, smooth)
    offsets: dict[int, float] = {}
    rows: dict[int, int] = {}
    for z in np.flatnonzero(fluid.any(axis=(1, 2))):
        found = {int(y): _middle(grid, plane, fluid, int(z), int(y)) for y in np.flatnonzero(fluid[z].any(axis=1))}
        middles = {y: middle for y, middle in found.items() if middle is not None}
        if len(middles) * grid.spacing_mm[1] >= _LEAST_ROWS_MM:
            # Not of one row: over some millimetres from front to back.
            size = max(3, round(_ALONG_MM / grid.spacing_mm[1]))
            steady = ndimage.median_filter([*middles.values()], size=size, mode="nearest")
            most = int(np.abs(steady).argmax())
            offsets[int(z)], rows[int(z)] = float(steady[most]), [*middles][most]
    if not offsets:
        return None
    largest = max(offsets, key=lambda z: abs(_steady(offsets, z)))
    return Shift(_steady(offsets, largest), largest, rows[largest])


def shift_points(grid: Grid, brain: Brain, plane: MidPlane, shift: Shift) -> tuple[Place, Place, Place]:
    """Return, in pixels of the volume: the middle at the brain's front, the middle beside the ventricles, theirs."""
    sz, sy, sx = grid.spacing_mm
    _, fy, fx = grid.factors
    front = int(brain.inside[shift.plane].any(axis=1).argmax())
    at_front, expected = (float(plane.of(row * sy, shift.plane * sz)) for row in (front, shift.row))
    points = ((front, at_front), (shift.row, expected), (shift.row, expected + shift.left_mm))
    first, second, third = (((row + 0.5) * fy - 0.5, (x_mm / sx + 0.5) * fx - 0.5) for row, x_mm in points)
    return first, second, third


def _steady(offsets: dict[int, float], z: int) -> float:
    """Take the middle one of a plane and its neighbours, so that one bad plane does not count."""
    return float(np.median([offsets[near] for near in (z - 1, z, z + 1) if near in offsets]))


def _ventricles(grid: Grid, brain: Brain, plane: MidPlane, smooth: NDArray[np.float32]) -> Mask:
    """Return fluid deep in the brain and near its middle; thin fissures and noise are opened away."""
    sz, sy, sx = grid.spacing_mm
    z, y = np.arange(grid.hu.shape[0])[:, None, None] * sz, np.arange(grid.hu.shape[1])[None, :, None] * sy
    beside = np.abs(np.arange(grid.hu.shape[2]) * sx - plane.of(y, z)) < _BESIDE_MM
    fluid = brain.inside & (smooth < _FLUID_HU) & (smooth > -20.0) & (brain.depth_mm > _DEEP_MM) & beside
    in_plane = (10.0 * sz, sy, sx)
    return opened(fluid, 1.5, in_plane)


def _middle(grid: Grid, plane: MidPlane, fluid: Mask, z: int, y: int) -> float | None:
    """Return how far the middle between the two ventricles of a row is off the plane, in mm to the left."""
    sz, sy, sx = grid.spacing_mm
    runs, count = ndimage.label(fluid[z, y])
    if count < 2:
        return None
    edges = [(int(np.flatnonzero(runs == n)[0]), int(np.flatnonzero(runs == n)[-1])) for n in range(1, count + 1)]
    expected = float(plane.of(y * sy, z * sz))
    gaps = [((right[1] + left[0]) / 2 * sx, (left[0] - right[1]) * sx) for right, left in pairwise(edges)]
    narrow = [(abs(middle - expected), middle) for middle, width in gaps if width < _WIDEST_GAP_MM]
    return min(narrow)[1] - expected if narrow else None
