"""The anatomy of the chest phantom: analytic shapes in patient millimetres, drawn one axial plane at a time.

Coordinates are the patient's (PS3.3 C.7.6.2.1.1): x grows to the left, y to the back, z to the head; z = 0 is the lower
end of the 300 mm that the phantom is high, x = y = 0 the middle of the chest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

HEIGHT_MM = 300.0
RIGHT, LEFT, AIRWAYS = 1, 2, 3

AIR_HU, FAT_HU, MUSCLE_HU, ORGAN_HU, BLOOD_HU, CONTRAST_HU, BONE_HU, LESION_HU = -1000, -100, 50, 55, 42, 260, 480, 35
_WALL_MM = 2.5
_RIGHT_HILUM, _LEFT_HILUM, _CARINA = (-40.0, 24.0, 152.0), (46.0, 28.0, 150.0), (0.0, 20.0, 186.0)


class TableSide(StrEnum):
    """The side of the patient that lies on the table."""

    BACK = "back"
    FRONT = "front"
    RIGHT = "right"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Ball:
    """A ball by its centre (x, y, z) and radius, in millimetres."""

    centre_mm: tuple[float, float, float]
    radius_mm: float


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What may differ between phantoms."""

    table: TableSide
    lesions: tuple[Ball, ...]
    contrast: bool


PLEURAL_LESION = Ball((-139.0, 8.0, 165.0), 10.0)
NODULE = Ball((84.0, -22.0, 196.0), 8.0)
PLEURAL_MASS = Ball((-121.0, -4.0, 203.0), 20.0)
HILAR_MASS = Ball((-66.0, 14.0, 172.0), 20.0)
HILA = {RIGHT: _RIGHT_HILUM, LEFT: _LEFT_HILUM}


def draw_plane(x: Plane, y: Plane, z: float, anatomy: Anatomy) -> tuple[Plane, NDArray[np.uint8]]:
    """Draw one axial plane: HU, and labels (1 right lung, 2 left lung, 3 trachea and main bronchi).

    `x` is a row and `y` a column of patient coordinates in millimetres.
    """
    hu = np.full(np.broadcast_shapes(x.shape, y.shape), AIR_HU, np.float32)
    _draw_table(hu, x, y, anatomy.table)
    _draw_trunk(hu, x, y, z)
    _draw_abdomen(hu, x, y, z)
    labels = _lungs(x, y, z)
    _draw_lungs(hu, labels, x, y, anatomy.table)
    _draw_mediastinum(hu, labels, x, y, z, blood_hu=CONTRAST_HU if anatomy.contrast else BLOOD_HU)
    _draw_airways(hu, labels, x, y, z)
    for lesion in anatomy.lesions:
        hu[_ball(x, y, z, lesion) & (labels > 0) & (labels < AIRWAYS)] = LESION_HU
    return hu, labels


def _ellipse(x: Plane, y: Plane, centre: tuple[float, float], half: tuple[float, float], power: float = 2.0) -> Mask:
    if half[0] <= 0 or half[1] <= 0:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    return np.asarray(np.abs((x - centre[0]) / half[0]) ** power + np.abs((y - centre[1]) / half[1]) ** power <= 1.0)


def _ball(x: Plane, y: Plane, z: float, ball: Ball) -> Mask:
    cx, cy, cz = ball.centre_mm
    return np.asarray((x - cx) ** 2 + (y - cy) ** 2 <= ball.radius_mm**2 - (z - cz) ** 2)


def _draw_table(hu: Plane, x: Plane, y: Plane, side: TableSide) -> None:
    """Draw a foam slab in a thin hard shell, a little away from the skin."""
    across, depth = (x, y) if side in {TableSide.BACK, TableSide.FRONT} else (y, x)
    sign = 1.0 if side in {TableSide.BACK, TableSide.LEFT} else -1.0
    gap = (127.0 if across is x else 185.0) + 0.0 * across
    below = sign * depth - gap
    hu[(below >= 0) & (below < 26) & (np.abs(across) < 176)] = -150
    hu[(below >= 2) & (below < 24) & (np.abs(across) < 174)] = -940


def _draw_trunk(hu: Plane, x: Plane, y: Plane, z: float) -> None:
    """Draw skin fat, muscle, ribs, sternum and spine."""
    scale = 1.0 - 0.06 * float(np.clip((z - 220.0) / 80.0, 0.0, 1.0))
    hu[_ellipse(x, y, (0, 0), (182 * scale, 124 * scale), 2.8)] = FAT_HU
    hu[_ellipse(x, y, (0, 0), (170 * scale, 113 * scale), 2.9)] = MUSCLE_HU
    shell = _ellipse(x, y, (0, 0), (160, 106), 3.0) & ~_ellipse(x, y, (0, 0), (152, 99), 3.0)
    # Ribs slope downwards to the front, so that each plane cuts several.
    hu[shell & (np.sin(2 * np.pi * (z - 0.45 * y) / 30.0) > 0.25) & (np.abs(x) > 22)] = BONE_HU
    hu[_ellipse(x, y, (0, -103), (19, 6), 4.0) & (z > 90)] = BONE_HU
    hu[_ellipse(x, y, (0, 64), (21, 17))] = BONE_HU
    # Every 30 mm a disc interrupts the bone.
    hu[_ellipse(x, y, (0, 64), (18, 14))] = 190 if (z % 30.0) > 6.0 else 90
    hu[(np.abs(x) < 4) & (y > 85) & (y < 112)] = BONE_HU
    hu[_ellipse(x, y, (0, 87), (9, 7))] = 25


def _draw_abdomen(hu: Plane, x: Plane, y: Plane, z: float) -> None:
    """Draw liver, spleen, belly fat and the gas in the stomach below the left dome."""
    if z > 125:
        return
    inside = _ellipse(x, y, (0, 0), (148, 95), 3.0) & (hu < 100) & (y < 45 + np.abs(x))
    hu[inside] = ORGAN_HU
    hu[inside & _ellipse(x, y, (10, -20), (25, 30)) & (z < 60)] = FAT_HU
    level = 1.0 - ((z - 82.0) / 13.0) ** 2
    if level > 0:
        hu[_ellipse(x, y, (68, -28), (30 * level**0.5, 26 * level**0.5))] = AIR_HU


def _lungs(x: Plane, y: Plane, z: float) -> NDArray[np.uint8]:
    """Return the outlines of the lungs: ellipses that taper to the apex, less mediastinum, heart and diaphragm."""
    taper = float(max(0.0, 1.0 - (max(z - 140.0, 0.0) / 135.0) ** 2)) ** 0.5
    labels = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.uint8)
    sides = ((RIGHT, -80.0, 62.0, 88.0, 122.0), (LEFT, 82.0, 57.0, 85.0, 108.0))
    for label, centre, half_width, half_depth, dome in sides:
        outline = _ellipse(x, y, (centre, 4 * (1 - taper)), (half_width * taper, half_depth * taper))
        diaphragm = dome - 86.0 * (((x - centre) / 68.0) ** 2 + ((y + 8.0) / 100.0) ** 2)
        labels[outline & (z > diaphragm)] = label
    labels[_ellipse(x, y, (2, 0), (24, 90), 3.0)] = 0
    labels[_heart(x, y, z, 64.0)] = 0
    return labels


def _heart(x: Plane, y: Plane, z: float, size_mm: float) -> Mask:
    level = 1.0 - ((z - 120.0) / (0.8 * size_mm)) ** 2
    if level <= 0:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    return _ellipse(x, y, (26, -34), (size_mm * level**0.5, 0.8 * size_mm * level**0.5))


def _draw_lungs(hu: Plane, labels: NDArray[np.uint8], x: Plane, y: Plane, side: TableSide) -> None:
    """Draw the parenchyma, denser towards the table, as gravity makes it."""
    sign = 1.0 if side in {TableSide.BACK, TableSide.LEFT} else -1.0
    depth = sign * (y / 90.0 if side in {TableSide.BACK, TableSide.FRONT} else x / 140.0)
    density = np.broadcast_to(-862.0 + 22.0 * depth, hu.shape)
    lung = labels > 0
    hu[lung] = density[lung]


def _draw_mediastinum(hu: Plane, labels: NDArray[np.uint8], x: Plane, y: Plane, z: float, *, blood_hu: float) -> None:
    """Draw fat, heart, great vessels and hila; where they stand, there is no lung."""
    free = labels == 0
    hu[_ellipse(x, y, (2, -15), (24, 68), 3.0) & free & (hu < 100) & (z > 100)] = FAT_HU + 70
    hu[_heart(x, y, z, 64.0) & (hu < 100) & (y > -98)] = 10
    hu[_heart(x, y, z, 58.0) & (hu < 100)] = blood_hu
    vessels = [Ball((*hilum[:2], z), max(0.0, 15.0**2 - (z - hilum[2]) ** 2) ** 0.5) for hilum in HILA.values()]
    if z < 215:
        vessels += [Ball((20, 46, z), 11.5)] + ([Ball((-9, -18, z), 15)] if z > 120 else [])
    arch = 15.0**2 - (z - 215.0) ** 2
    vessel = np.zeros(labels.shape, bool)
    for ball in vessels:
        vessel |= _ball(x, y, z, ball)
    if arch > 0:
        vessel |= (np.abs(y - 13 - 2.2 * (x - 5)) < 1.9 * arch**0.5) & (y > -28) & (y < 56) & (np.abs(x) < 24)
    labels[vessel] = 0
    hu[vessel & (hu < 400)] = blood_hu


def _draw_airways(hu: Plane, labels: NDArray[np.uint8], x: Plane, y: Plane, z: float) -> None:
    """Draw the trachea and the main bronchi with their walls."""
    tubes = [((0.0, 20.0 - 0.06 * (z - 186.0)), 9.0)] if z >= _CARINA[2] else []
    for hilum, radius in ((_RIGHT_HILUM, 7.0), (_LEFT_HILUM, 6.0)):
        way = (_CARINA[2] - z) / (_CARINA[2] - hilum[2])
        if -0.1 <= way <= 1.0:
            centre = (_CARINA[0] + way * (hilum[0] - _CARINA[0]), _CARINA[1] + way * (hilum[1] - _CARINA[1]))
            tubes.append((centre, radius))
    for centre, radius in tubes:
        wide = 1.25 if radius < 9.0 else 1.0  # a slanted tube is cut as an ellipse
        wall = _ellipse(x, y, centre, (wide * radius + _WALL_MM, radius + _WALL_MM)) & (labels != AIRWAYS)
        hu[wall], labels[wall] = MUSCLE_HU, 0
    for centre, radius in tubes:
        wide = 1.25 if radius < 9.0 else 1.0
        lumen = _ellipse(x, y, centre, (wide * radius, radius))
        hu[lumen], labels[lumen] = AIR_HU, AIRWAYS
