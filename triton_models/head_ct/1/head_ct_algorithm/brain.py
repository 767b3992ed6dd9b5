"""The inside of the skull: what bone encloses, without orbits and sinuses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from head_ct_algorithm.grid import Grid, Mask, closed, grown, largest, shrunk, without_axial_holes

BONE_HU = 300.0
_TISSUE_HU = -200.0
_SEAL_MM = 7.0
_SOFT_HU = (-15.0, 130.0)
_NECK_MM = 5.0
_LEAST_BRAIN_ML = 500.0
_LEAST_HEAD_ML = 700.0


@dataclass(frozen=True, slots=True)
class Brain:
    """Coarse masks: the head, its bone, what lies inside of the skull, and how far each place there is from bone."""

    head: Mask
    bone: Mask
    inside: Mask
    depth_mm: np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def find_brain(grid: Grid) -> Brain | None:
    """Find the inside of the skull, or nothing where no head is seen."""
    head = without_axial_holes(largest(grid.hu > _TISSUE_HU))
    bone = (grid.hu > BONE_HU) & head
    if head.sum() * grid.voxel_ml < _LEAST_HEAD_ML or not bone.any():
        return None
    skull = closed(bone, _SEAL_MM, grid.spacing_mm)
    enclosed = without_axial_holes(skull) & ~bone
    smooth = ndimage.gaussian_filter(grid.hu, [0, 1.5, 1.5])
    soft = enclosed & (smooth > _SOFT_HU[0]) & (smooth < _SOFT_HU[1])
    core = largest(shrunk(soft, _NECK_MM, grid.spacing_mm))
    inside = grown(core, _NECK_MM + 1.0, grid.spacing_mm) & enclosed
    inside = without_axial_holes(inside) & ~bone
    if inside.sum() * grid.voxel_ml < _LEAST_BRAIN_ML:
        return None
    depth_mm = ndimage.distance_transform_edt(~bone, sampling=grid.spacing_mm)
    return Brain(head, bone, inside, depth_mm)
