"""From a head CT to labels of brain and lesions, and what they measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from head_ct_algorithm.brain import find_brain
from head_ct_algorithm.grid import Grid, Spacing
from head_ct_algorithm.lesions import Lesion, find_lesions, smoothed
from head_ct_algorithm.midline import Place, find_mid_plane, find_shift, shift_points
from head_ct_algorithm.remarks import FEWEST_FRAMES, Remark, not_a_head, remarks_on, too_few_slices

BRAIN, LESION = 1, 2
_NO_DENSITY = frozenset({"contrast", "metal", "noise_or_sharp_kernel", "thick_slices"})
_BONE_HU = 150


@dataclass(frozen=True, slots=True)
class Judgement:
    """Labels as the volume lies (1 brain and fluid, 2 hyperdense lesion), lesions, shift, and what limits them.

    `lesions` is None where density cannot be judged, `shift_left_mm` where the ventricles are not seen. Planes are of
    the volume, and so are `shift_points`: row and column of the middle at the brain's front, of the middle beside the
    ventricles, and of where theirs was found.
    """

    labels: NDArray[np.uint8]
    lesions: tuple[Lesion, ...] | None
    shift_left_mm: float | None
    shift_plane: int | None
    remarks: tuple[Remark, ...]
    shift_points: tuple[Place, Place, Place] | None = None


def judge(volume: NDArray[np.int16], spacing_mm: Spacing) -> Judgement:
    """Judge a head CT in HU, [superior, posterior, left], each axis growing that way; spacings in that order."""
    labels = np.zeros(volume.shape, np.uint8)
    if volume.shape[0] < FEWEST_FRAMES:
        return Judgement(labels, None, None, None, (too_few_slices(volume.shape[0]),))
    grid = Grid.of(volume, spacing_mm)
    brain = find_brain(grid)
    plane = None if brain is None else find_mid_plane(grid, brain)
    if brain is None or plane is None:
        return Judgement(labels, None, None, None, (not_a_head(),))
    smooth = smoothed(grid, brain.inside)
    remarks = remarks_on(grid, brain, volume)
    codes = {remark.code for remark in remarks}
    shift = None if "noise_or_sharp_kernel" in codes else find_shift(grid, brain, plane, smooth)
    # Partial volume at the bone, and bone between coarse voxels, is no brain.
    inside = grid.refined(brain.inside, volume.shape) & (volume < _BONE_HU)
    labels[inside] = BRAIN
    lesions: tuple[Lesion, ...] | None = None
    if not _NO_DENSITY & codes:
        coarse, found = find_lesions(grid, brain, plane, smooth)
        labels[grid.refined(coarse > 0, volume.shape) & inside] = LESION
        lesions = tuple(found)
    middle = grid.factors[0] // 2
    to_fine = [min(z * grid.factors[0] + middle, volume.shape[0] - 1) for z in range(grid.hu.shape[0])]
    return Judgement(
        labels=labels,
        lesions=None if lesions is None else tuple(_on_plane(each, to_fine[each.plane]) for each in lesions),
        shift_left_mm=None if shift is None else shift.left_mm,
        shift_plane=None if shift is None else to_fine[shift.plane],
        remarks=tuple(remarks),
        shift_points=None if shift is None else shift_points(grid, brain, plane, shift),
    )


def _on_plane(lesion: Lesion, plane: int) -> Lesion:
    return Lesion(lesion.label, lesion.volume_ml, lesion.mean_hu, plane, lesion.left_mm)
