"""From a CT volume to labels of the lungs and airways at full resolution, with remarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lung_ct_algorithm.airways import Airways, find_airways
from lung_ct_algorithm.body import air_threshold, find_body
from lung_ct_algorithm.dents import dent_at_wall
from lung_ct_algorithm.grid import Box, CoarseGrid, Mask, PatientAxes, box_around, in_plane
from lung_ct_algorithm.lesions import WALL_CLOSING_MM, with_dense_parts
from lung_ct_algorithm.places import dense_part, placed
from lung_ct_algorithm.remarks import FEWEST_FRAMES, Remark, judge, not_a_chest, too_few_slices
from lung_ct_algorithm.sides import LEFT_LUNG, RIGHT_LUNG, find_sides

AIRWAYS = 3
_SMALL_LUNG = frozenset({"one_lung", "collapsed_or_consolidated"})
_BONE_HU = 350.0
_AIRWAY_WALL_HU = -500.0


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Labels as the volume lies (0 background, 1 right lung, 2 left lung, 3 airways) and what limits them."""

    labels: NDArray[np.uint8]
    remarks: tuple[Remark, ...]


def segment(
    volume: NDArray[np.int16], spacing_mm: tuple[float, float, float], direction: NDArray[np.floating[Any]]
) -> Segmentation:
    """Segment the lungs of a CT volume in HU, [frames, rows, columns].

    `direction` is 3 x 3, its columns the unit vectors of growing frame, row and column index in LPS; right, left, above
    and below are taken from it alone.
    """
    labels = np.zeros(volume.shape, np.uint8)
    if min(volume.shape) < FEWEST_FRAMES:
        return Segmentation(labels, (too_few_slices(min(volume.shape)),))
    axes = PatientAxes.of(direction)
    turned, fine = axes.view(volume), axes.view(labels)
    grid = CoarseGrid.of(turned, axes.spacing(spacing_mm))
    body = find_body(grid)
    if not body.any():
        return Segmentation(labels, (not_a_chest(),))
    threshold = air_threshold(grid.hu, body)
    airways = find_airways(grid, body)
    sides = find_sides(body & (grid.hu < threshold) & ~airways.zone, grid, airways.midline)
    lungs, filled = _with_dense_parts(sides.labels, grid, body & ~sides.gas, airways)
    remarks = judge(grid, lungs, airways, sides.gas, turned)
    if not any(remark.code == "not_a_chest" for remark in remarks):
        _refine(fine, turned, grid, _Coarse(lungs, filled, airways, body, sides.gas), threshold)
        remarks = [placed(r, grid, lungs, axes) if r.code in _SMALL_LUNG else r for r in remarks]
        found = (dense_part(grid, lungs, airways, axes), dent_at_wall(grid, lungs, axes))
        remarks += [each for each in found if each]
    return Segmentation(labels, tuple(remarks))


@dataclass(frozen=True, slots=True)
class _Coarse:
    lungs: NDArray[np.uint8]
    filled: Mask
    airways: Airways
    body: Mask
    gas: Mask


def _with_dense_parts(
    air: NDArray[np.uint8], grid: CoarseGrid, body: Mask, airways: Airways
) -> tuple[NDArray[np.uint8], Mask]:
    lungs = air.copy()
    outside = ~body | airways.zone | (grid.hu > _BONE_HU)
    for side in (RIGHT_LUNG, LEFT_LUNG):
        mask = air == side
        if mask.any():
            box: Box = box_around(mask, WALL_CLOSING_MM / 2, grid.spacing_mm)
            forbidden = outside[box] | ((lungs[box] > 0) & ~mask[box])
            lateral_is_left = side == LEFT_LUNG
            lung = with_dense_parts(
                mask[box], forbidden, airways.zone[box], grid.spacing_mm, lateral_is_left=lateral_is_left
            )
            lungs[box][lung] = side
    return lungs, (lungs > 0) & (air == 0)


def _refine(
    fine: NDArray[np.uint8], volume: NDArray[np.int16], grid: CoarseGrid, coarse: _Coarse, threshold: float
) -> None:
    """Draw the boundary at full resolution: by threshold near it, by the coarse labels within."""
    planes = np.flatnonzero(coarse.lungs.any(axis=(1, 2)) | coarse.airways.lumen.any(axis=(1, 2)))
    shape = (volume.shape[1], volume.shape[2])
    inner, outer = _bands(grid, coarse)
    for z in range(max(0, planes[0] - 1), min(len(inner), planes[-1] + 2)):
        certain, possible = grid.refine(inner[z], shape), grid.refine(outer[z], shape)
        if coarse.filled[z].any():
            # Where tissue meets tissue no threshold can draw the boundary: a smooth line stands in for it.
            dense = ndimage.binary_dilation(coarse.filled[z], structure=in_plane()[0])
            certain = certain | (grid.refine(dense, shape) & grid.refine_smoothly(coarse.lungs[z] > 0, shape))
        airway = grid.refine(coarse.airways.zone[z], shape) if coarse.airways.zone[z].any() else None
        for k in range(z * grid.factors[0], min((z + 1) * grid.factors[0], volume.shape[0])):
            lung = certain | ((possible > 0) & (volume[k] < threshold))
            fine[k] = lung * possible
            if airway is not None:
                fine[k][airway & (volume[k] < _AIRWAY_WALL_HU)] = AIRWAYS


def _bands(grid: CoarseGrid, coarse: _Coarse) -> tuple[Mask, NDArray[np.uint8]]:
    """Return where a voxel is lung whatever its HU, and the side of every voxel that may be lung."""
    along = ndimage.generate_binary_structure(3, 1) if grid.factors[0] > 1 else in_plane()
    lung = coarse.lungs > 0
    inner = ndimage.binary_erosion(lung, structure=along, border_value=1)
    allowed = coarse.body & ~coarse.airways.zone & ~ndimage.binary_dilation(coarse.gas, structure=in_plane())
    right, left = (ndimage.binary_dilation(coarse.lungs == side, structure=along) for side in (RIGHT_LUNG, LEFT_LUNG))
    outer = np.where(coarse.lungs > 0, coarse.lungs, np.where(right, RIGHT_LUNG, np.where(left, LEFT_LUNG, 0)))
    return inner, (outer * (allowed | lung)).astype(np.uint8)
