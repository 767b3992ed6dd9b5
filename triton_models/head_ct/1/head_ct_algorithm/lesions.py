"""Hyperdense parts of the brain, as fresh blood is; without bone, calcification, falx, tentorium and sinuses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from head_ct_algorithm.brain import Brain
from head_ct_algorithm.grid import Grid, Mask, grown, opened
from head_ct_algorithm.midline import MidPlane

LOW_HU, HIGH_HU = 50.0, 90.0
LEAST_ML = 0.5
_SEED_HU = 54.0
_CALCIUM_HU = 105.0
_CALCIUM_SHARE = 0.15
_BONE_MARGIN_MM = 2.5
_SHEET_MM = 2.2
_SINUS_BESIDE_MM = 7.0
_SINUS_BONE_MM = 8.0
_SINUS_ML = 12.0
_MIDDLE_MM = 4.0


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected part: its volume, mean HU, coarse plane with most of it, and how far left of the middle it is."""

    label: int
    volume_ml: float
    mean_hu: float
    plane: int
    left_mm: float

    @property
    def side(self) -> str:
        """Say on which side of the middle it lies."""
        if abs(self.left_mm) < _MIDDLE_MM:
            return "middle"
        return "left" if self.left_mm > 0 else "right"


def smoothed(grid: Grid, inside: Mask) -> NDArray[np.float32]:
    """Average HU over about 2 mm in the plane, of what lies inside alone: bone does not shine in."""
    sigma = [0.0, *(1.2 / spacing for spacing in grid.spacing_mm[1:])]
    if grid.spacing_mm[0] < 2.0:
        sigma[0] = 1.0 / grid.spacing_mm[0]
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(inside, np.clip(grid.hu, -50, 200), 0).astype(np.float32), sigma)
    return np.where(weight > 0.05, total / np.maximum(weight, 1e-3), 0).astype(np.float32)


def find_lesions(
    grid: Grid, brain: Brain, plane: MidPlane, smooth: NDArray[np.float32]
) -> tuple[NDArray[np.int32], list[Lesion]]:
    """Return labels of the coarse grid and what they are, the largest first."""
    calcium = grown((grid.hu > _CALCIUM_HU) & brain.inside, 1.0, grid.spacing_mm)
    dense = brain.inside & (smooth >= LOW_HU) & (smooth <= HIGH_HU) & (brain.depth_mm > _BONE_MARGIN_MM)
    in_plane = (20.0 * grid.spacing_mm[0], *grid.spacing_mm[1:])
    core = opened(dense & (smooth >= _SEED_HU), _SHEET_MM, in_plane)
    whole = grown(core, 3.0, grid.spacing_mm) & dense
    labels, _ = ndimage.label(whole, structure=np.ones((3, 3, 3)))
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[box] == number
        lesion = _described(number, part, box, grid, brain, plane, smooth)
        calcified = (calcium[box] & part).sum() / part.sum() > _CALCIUM_SHARE
        if lesion is None or calcified:
            labels[box][part] = 0
        else:
            found.append(lesion)
    return labels, sorted(found, key=lambda each: -each.volume_ml)


def _described(
    number: int,
    part: Mask,
    box: tuple[slice, ...],
    grid: Grid,
    brain: Brain,
    plane: MidPlane,
    smooth: NDArray[np.float32],
) -> Lesion | None:
    """Describe a part, or return nothing where it is too small, or lies as a venous sinus does."""
    volume_ml = float(part.sum()) * grid.voxel_ml
    if volume_ml < LEAST_ML:
        return None
    places = np.argwhere(part) + [side.start for side in box]
    z_mm, y_mm, x_mm = (places * grid.spacing_mm).T
    left_mm = x_mm - plane.of(y_mm, z_mm)
    at_bone = float((brain.depth_mm[box][part] < _SINUS_BONE_MM).mean()) > 0.5
    if at_bone and volume_ml < _SINUS_ML and float(np.abs(left_mm).mean()) < _SINUS_BESIDE_MM:
        return None
    most = int(np.bincount(places[:, 0]).argmax())
    mean_hu = float(smooth[box][part].mean())
    return Lesion(number, volume_ml, mean_hu, most, float(left_mm.mean()))
