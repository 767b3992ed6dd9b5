"""A head made of analytic shapes, with the true lesions and midline shift, as voxels that phantom_instances can write.

Coordinates are the patient's (PS3.3 C.7.6.2.1.1): x grows to the left, y to the back, z to the head; z = 0 is the skull
base, x = y = 0 the middle of the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from radbus_testing.phantom import ORIENTATIONS, Vector, laid_out

HEIGHT_MM = 160.0
_LOWEST_MM = -22.0
_FIELD_MM = 240.0
_NOISE_HU = 4.0
_CENTRE_Z = 50.0
_SKIN, _SKULL, _DURA, _CORTEX = (75.0, 93.0, 83.0), (69.0, 87.0, 77.0), (62.0, 80.0, 70.0), (60.0, 78.0, 68.0)
_AIR_HU, _SKIN_HU, _BONE_HU, _FLUID_HU, _GREY_HU, _WHITE_HU, _FALX_HU = -1000, 45, 900, 8, 37, 29, 52
BRAIN, BLOOD = 1, 2

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Extra(StrEnum):
    """What a head may have in it that is no anatomy."""

    CONTRAST = "contrast"
    METAL = "metal"


@dataclass(frozen=True, slots=True)
class Blood:
    """An ellipsoid of fresh blood by its centre (x, y, z) and half axes, in millimetres."""

    centre_mm: Vector
    half_mm: Vector
    hu: float = 66.0


@dataclass(frozen=True, slots=True)
class HeadTruth:
    """What a perfect measurement gives; `labels` are 1 brain and fluid, 2 blood, as the volume lies."""

    labels: NDArray[np.uint8]
    blood_ml: float
    brain_ml: float
    shift_left_mm: float


@dataclass(frozen=True, slots=True)
class HeadPhantom:
    """A phantom: HU as int16 [frames, rows, columns], where they are in the patient, and the truth."""

    voxels: NDArray[np.int16]
    spacing_mm: Vector
    origin_mm: Vector
    direction: NDArray[np.float64]
    patient_position: str
    contrast: bool
    truth: HeadTruth


LEFT_BLOOD = Blood((34.0, 5.0, 64.0), (16.0, 20.0, 14.0))
RIGHT_BLOOD = Blood((-34.0, 5.0, 64.0), (16.0, 20.0, 14.0))


def head_phantom(
    *,
    slices: int = 32,
    rows: int = 256,
    orientation: str = "HFS",
    blood: tuple[Blood, ...] = (),
    shift_left_mm: float = 0.0,
    noise_hu: float = _NOISE_HU,
    extras: frozenset[Extra] = frozenset(),
) -> HeadPhantom:
    """Make a head phantom that fits into the slices and rows.

    `shift_left_mm` is how far the septum between the ventricles is pushed to the left at its middle.
    """
    row, column, _ = ORIENTATIONS[orientation]
    spacing = (HEIGHT_MM / slices, _FIELD_MM / rows, _FIELD_MM / rows)
    z = _LOWEST_MM + (np.arange(slices) + 0.5) * spacing[0]
    y, x = (((np.arange(rows) - (rows - 1) / 2) * spacing[axis]).astype(np.float32) for axis in (1, 2))
    rng = np.random.default_rng(1)
    voxels, labels = np.empty((slices, rows, rows), np.int16), np.empty((slices, rows, rows), np.uint8)
    for k, height in enumerate(z):
        hu, labels[k] = _plane(x[None], y[:, None], float(height), blood, shift_left_mm)
        _add_extras(hu, x[None], y[:, None], float(height), extras)
        noisy = hu + noise_hu * rng.standard_normal(hu.shape, np.float32)
        voxels[k] = np.clip(np.rint(noisy), -1024, 3071)
    voxel_ml = float(np.prod(spacing)) / 1000.0
    turned = laid_out((z, y, x), row, column)
    return HeadPhantom(
        voxels=turned.of(voxels),
        spacing_mm=spacing,
        origin_mm=turned.origin_mm,
        direction=turned.direction,
        patient_position=orientation,
        contrast=Extra.CONTRAST in extras,
        truth=HeadTruth(
            labels=turned.of(labels),
            blood_ml=float((labels == BLOOD).sum()) * voxel_ml,
            brain_ml=float((labels > 0).sum()) * voxel_ml,
            shift_left_mm=shift_left_mm,
        ),
    )


def _plane(x: Field, y: Field, z: float, blood: tuple[Blood, ...], shift_mm: float) -> tuple[Field, NDArray[np.uint8]]:
    hu = np.full(np.broadcast_shapes(x.shape, y.shape), _AIR_HU, np.float32)
    hu[_shell(x, y, z, _SKIN)] = _SKIN_HU
    inside = _shell(x, y, z, _DURA) if z >= 0 else np.zeros(hu.shape, bool)
    hu[_shell(x, y, z, _SKULL) & ~inside] = _BONE_HU if z > -6 else _SKIN_HU
    _draw_base(hu, x, y, z)
    hu[inside] = _FLUID_HU
    brain = _shell(x, y, z, _CORTEX) & inside
    hu[brain] = _GREY_HU
    hu[_shell(x, y, z, tuple(half - 5.0 for half in _CORTEX)) & inside] = _WHITE_HU
    _draw_middle(hu, x, y, z, inside, shift_mm)
    labels = inside.astype(np.uint8)
    for each in blood:
        where = _ellipsoid(x, y, z, each.centre_mm, each.half_mm) & brain
        hu[where], labels[where] = each.hu, BLOOD
    return hu, labels


def _shell(x: Field, y: Field, z: float, half: tuple[float, ...]) -> Mask:
    """Return an ellipsoid that goes on as a cylinder below its middle."""
    height = max(0.0, z - _CENTRE_Z) / half[2]
    return np.asarray((x / half[0]) ** 2 + (y / half[1]) ** 2 <= 1.0 - height**2)


def _ellipsoid(x: Field, y: Field, z: float, centre: Vector, half: Vector) -> Mask:
    across, deep, up = ((x - centre[0]) / half[0], (y - centre[1]) / half[1], (z - centre[2]) / half[2])
    return np.asarray(across**2 + deep**2 + up**2 <= 1.0)


def _draw_base(hu: Field, x: Field, y: Field, z: float) -> None:
    """Draw the neck below the skull, with the foramen magnum, a vertebra and an airway."""
    if z >= 0:
        return
    foramen = (x / 15.0) ** 2 + ((y - 25.0) / 17.0) ** 2 <= 1.0
    hu[np.broadcast_to(foramen, hu.shape)] = 32
    if z <= -6:
        ring = ((x / 24.0) ** 2 + ((y - 27.0) / 26.0) ** 2 <= 1.0) & ~foramen
        hu[ring] = _BONE_HU
        hu[np.broadcast_to((x / 11.0) ** 2 + ((y + 30.0) / 9.0) ** 2 <= 1.0, hu.shape)] = _AIR_HU


def _draw_middle(hu: Field, x: Field, y: Field, z: float, inside: Mask, shift_mm: float) -> None:
    """Draw ventricles, falx, and the calcified pineal body; all but the falx give way to the shift."""
    # The nearer to the skull, the less: pushed by this, the septum lies where it should.
    push = shift_mm / (1.0 - abs(shift_mm) / 62.0) * np.exp(-(((y + 6.0) / 55.0) ** 2) - ((z - 68.0) / 40.0) ** 2)
    moved = x - push * (1.0 - np.clip(np.abs(x) / 62.0, 0.0, 1.0))
    for side in (-1.0, 1.0):
        hu[_ellipsoid(moved, y, z, (side * 9.5, -6.0, 68.0), (8.0, 28.0, 10.0)) & inside] = _FLUID_HU
        hu[_ellipsoid(moved, y, z, (side * 21.0, 34.0, 62.0), (3.0, 3.0, 3.0)) & inside] = 170  # choroid plexus
    hu[_ellipsoid(moved, y, z, (0.0, 0.0, 51.0), (2.5, 13.0, 9.0)) & inside] = _FLUID_HU
    hu[_ellipsoid(moved, y, z, (0.0, 24.0, 52.0), (2.5, 2.5, 2.5)) & inside] = 190
    falx = (np.abs(x) < 0.9) & inside & ((y < -42.0) | (y > 48.0) | (z > 88.0))
    hu[falx] = _FALX_HU
    # The superior sagittal sinus, under the vault and behind.
    rim = inside & ~_shell(x, y, z, tuple(half - 7.0 for half in _DURA)) & (np.abs(x) < 5.0)
    hu[rim & ((y > 40.0) | (z > 100.0))] = 58


def _add_extras(hu: Field, x: Field, y: Field, z: float, extras: frozenset[Extra]) -> None:
    if Extra.CONTRAST in extras:
        for side in (-1.0, 1.0):
            hu[_ellipsoid(x, y, z, (side * 22.0, -18.0, 36.0), (22.0, 4.0, 4.0))] = 240
            hu[_ellipsoid(x, y, z, (side * 4.0, -20.0, 44.0), (3.0, 6.0, 18.0))] = 240
    if Extra.METAL in extras:
        hu[_ellipsoid(x, y, z, (18.0, -16.0, 38.0), (6.0, 6.0, 6.0))] = 3071
