"""A chest made of analytic shapes, with the true volumes and densities, as voxels and as CT instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from radbus_testing.phantom_anatomy import (
    HEIGHT_MM,
    HILA,
    LEFT,
    NODULE,
    PLEURAL_LESION,
    RIGHT,
    Anatomy,
    Ball,
    TableSide,
    draw_plane,
)

_FIELD_MM = 384.0
_EMPHYSEMA_HU = -985.0
_NOISE_HU = 8.0

_Kind = TypeVar("_Kind", np.int16, np.uint8)
Vector = tuple[float, float, float]
ORIENTATIONS: dict[str, tuple[Vector, Vector, TableSide]] = {
    # PatientPosition (PS3.3 C.7.3.1.1.2): row cosine, column cosine, side on the table. The table is always below.
    "HFS": ((1, 0, 0), (0, 1, 0), TableSide.BACK),
    "FFS": ((1, 0, 0), (0, 1, 0), TableSide.BACK),
    "HFP": ((-1, 0, 0), (0, -1, 0), TableSide.FRONT),
    "FFP": ((-1, 0, 0), (0, -1, 0), TableSide.FRONT),
    "HFDR": ((0, 1, 0), (-1, 0, 0), TableSide.RIGHT),
    "HFDL": ((0, -1, 0), (1, 0, 0), TableSide.LEFT),
}


@dataclass(frozen=True, slots=True)
class ChestTruth:
    """What a perfect measurement gives; lesions and vessels within a lung belong to it, its airways do not."""

    labels: NDArray[np.uint8]
    right_lung_volume_ml: float
    left_lung_volume_ml: float
    emphysema_index_percent: float
    mean_lung_density_hu: float


@dataclass(frozen=True, slots=True)
class ChestPhantom:
    """A phantom: HU as int16 [frames, rows, columns], where they are in the patient, and the truth.

    `direction` is 3 x 3 with the unit vectors of growing frame, row and column index as columns (LPS).
    """

    voxels: NDArray[np.int16]
    spacing_mm: Vector
    origin_mm: Vector
    direction: NDArray[np.float64]
    patient_position: str
    contrast: bool
    truth: ChestTruth


def chest_phantom(
    *,
    slices: int = 120,
    rows: int = 512,
    spacing_mm: Vector | None = None,
    seed: int = 1,
    emphysema_fraction: float = 0.12,
    orientation: str = "HFS",
    lesion: bool | tuple[Ball, ...] = True,
    contrast: bool = False,
) -> ChestPhantom:
    """Make a chest phantom; without `spacing_mm` the whole chest fits into the slices and rows.

    `emphysema_fraction` is about the share of lung below -950 HU; the exact share is in the truth. `lesion` puts a
    small lesion into each lung, or the solid balls that it names.
    """
    row, column, table = ORIENTATIONS[orientation]
    spacing = spacing_mm or (HEIGHT_MM / slices, _FIELD_MM / rows, _FIELD_MM / rows)
    grid = _Grid(slices, rows, spacing)
    small = (PLEURAL_LESION, NODULE) if lesion else ()
    anatomy = Anatomy(table, lesion if isinstance(lesion, tuple) else small, contrast)
    rng = np.random.default_rng(seed)
    clean, labels = _draw(grid, anatomy, rng, emphysema_fraction)
    layout = laid_out((grid.z, grid.y, grid.x), row, column)
    truth = _truth(clean, turned=layout.of(labels), labels=labels, spacing_mm=spacing)
    for plane in clean:
        noisy = plane + _NOISE_HU * rng.standard_normal(plane.shape, np.float32)
        plane[...] = np.clip(np.rint(noisy), -1024, 3071)
    return ChestPhantom(
        voxels=layout.of(clean),
        spacing_mm=spacing,
        origin_mm=layout.origin_mm,
        direction=layout.direction,
        patient_position=orientation,
        contrast=contrast,
        truth=truth,
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """How an array of the patient's axes (z, y, x) lies as frames, rows and columns of an orientation."""

    row: Vector
    column: Vector
    origin_mm: Vector
    direction: NDArray[np.float64]

    def of(self, array: NDArray[_Kind]) -> NDArray[_Kind]:
        """Lay an array out."""
        if self.row[1]:
            array = array.transpose(0, 2, 1)
        return np.ascontiguousarray(array[:, :: int(sum(self.column)), :: int(sum(self.row))])


def laid_out(axes: Sequence[NDArray[Any]], row: Vector, column: Vector) -> Layout:
    """Make the layout of an orientation; `axes` are the patient coordinates z, y and x of the voxels."""
    direction = np.array([np.cross(row, column), column, row], float).T
    z, y, x = axes
    # Index 0 lies where the turned axes begin.
    corner, ends = np.array([x[0], y[0], z[0]]), np.array([x[-1], y[-1], z[-1]])
    origin = np.where(direction.sum(axis=1) < 0, ends, corner)
    return Layout(row, column, (float(origin[0]), float(origin[1]), float(origin[2])), direction)


class _Grid:
    """The patient coordinates of the voxels' centres, the phantom in the middle."""

    def __init__(self, slices: int, rows: int, spacing_mm: Vector) -> None:
        self.spacing_mm = spacing_mm
        self.z = HEIGHT_MM / 2 + (np.arange(slices) - (slices - 1) / 2) * spacing_mm[0]
        self.y = ((np.arange(rows) - (rows - 1) / 2) * spacing_mm[1]).astype(np.float32)
        self.x = ((np.arange(rows) - (rows - 1) / 2) * spacing_mm[2]).astype(np.float32)

    def box(self, ball: Ball) -> tuple[tuple[slice, slice, slice], NDArray[np.bool_]]:
        """Return the voxels around a ball and which of them lie in it."""
        axes = (self.z, self.y, self.x)
        centre = ball.centre_mm[::-1]
        near = [np.searchsorted(a, (c - ball.radius_mm, c + ball.radius_mm)) for a, c in zip(axes, centre, strict=True)]
        box = slice(*near[0]), slice(*near[1]), slice(*near[2])
        squares = [(a[side] - c) ** 2 for a, side, c in zip(axes, box, centre, strict=True)]
        inside = squares[0][:, None, None] + squares[1][:, None] + squares[2] <= ball.radius_mm**2
        return box, inside


def _draw(
    grid: _Grid, anatomy: Anatomy, rng: np.random.Generator, emphysema_fraction: float
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    shape = (len(grid.z), len(grid.y), len(grid.x))
    clean, labels = np.empty(shape, np.int16), np.empty(shape, np.uint8)
    for k, z in enumerate(grid.z):
        hu, labels[k] = draw_plane(grid.x[None], grid.y[:, None], float(z), anatomy)
        clean[k] = np.rint(_blurred(hu))
    for vessel in _vessels(rng):
        _fill(clean, labels, grid, vessel, 30)
    _add_emphysema(clean, labels, grid, rng, emphysema_fraction)
    return clean, labels


def _blurred(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Soften edges as a scanner does, with weights 1-2-1."""
    for axis in (0, 1):
        padded = np.pad(hu, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        low, high = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        hu = 0.5 * hu + 0.25 * (low + high)
    return hu


def _vessels(rng: np.random.Generator) -> Iterator[Ball]:
    """Give the vessels as strings of balls that run from the hila outwards and thin out."""
    for side, hilum in HILA.items():
        centre = np.array([-80.0 if side == RIGHT else 82.0, 0.0, 160.0])
        for _ in range(36):
            way = rng.normal(size=3)
            end = centre + way / np.linalg.norm(way) * np.array([52.0, 76.0, 90.0])
            bend = rng.normal(scale=9.0, size=3)
            for t in np.linspace(0.05, 1.0, 80):
                point = np.array(hilum) * (1 - t) + end * t + bend * np.sin(np.pi * t)
                yield Ball((float(point[0]), float(point[1]), float(point[2])), 3.6 * (1 - t) + 0.9)


def _fill(clean: NDArray[np.int16], labels: NDArray[np.uint8], grid: _Grid, ball: Ball, hu: float) -> int:
    """Fill the lung within a ball with one HU and return how many voxels changed; denser tissue stays."""
    box, inside = grid.box(ball)
    lung = inside & ((labels[box] == RIGHT) | (labels[box] == LEFT))
    changed = lung & (clean[box] < -700) & (clean[box] != int(hu))
    clean[box][changed] = int(hu)
    return int(changed.sum())


def _add_emphysema(
    clean: NDArray[np.int16], labels: NDArray[np.uint8], grid: _Grid, rng: np.random.Generator, fraction: float
) -> None:
    lung = (labels == RIGHT) | (labels == LEFT)
    wanted = int(fraction * lung.sum())
    places = np.flatnonzero(lung)
    while wanted > 0:
        k, i, j = np.unravel_index(int(rng.choice(places)), labels.shape)
        # Centrilobular emphysema sits in the upper lobes first.
        if rng.random() > 0.25 + 0.75 * float(np.clip((grid.z[k] - 60.0) / 180.0, 0.0, 1.0)):
            continue
        ball = Ball((float(grid.x[j]), float(grid.y[i]), float(grid.z[k])), float(rng.uniform(3.5, 9.0)))
        wanted -= _fill(clean, labels, grid, ball, _EMPHYSEMA_HU)


def _truth(
    clean: NDArray[np.int16], *, turned: NDArray[np.uint8], labels: NDArray[np.uint8], spacing_mm: Vector
) -> ChestTruth:
    counts = np.bincount(labels.ravel(), minlength=4)
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    values = clean[(labels == RIGHT) | (labels == LEFT)]
    return ChestTruth(
        labels=turned,
        right_lung_volume_ml=float(counts[RIGHT]) * voxel_ml,
        left_lung_volume_ml=float(counts[LEFT]) * voxel_ml,
        emphysema_index_percent=100.0 * float((values < -950).mean()) if values.size else 0.0,
        mean_lung_density_hu=float(values.mean()) if values.size else 0.0,
    )
