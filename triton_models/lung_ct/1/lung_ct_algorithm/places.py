"""Where a reader should look: the largest dense part within the lungs, and where lung seems to be missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lung_ct_algorithm.airways import Airways
from lung_ct_algorithm.grid import CoarseGrid, Mask, PatientAxes, in_plane
from lung_ct_algorithm.masses import LARGEST_HILUM_ML
from lung_ct_algorithm.remarks import Remark
from lung_ct_algorithm.sides import LEFT_LUNG, RIGHT_LUNG

_DENSE_HU = -300.0
_DENSE_PART_ML = 5.0
_VESSEL_RADIUS_MM = 4.0
_SMALL_SHARE = 0.75
_MISSING_SHARE = 0.15
_NAMES = {RIGHT_LUNG: "right", LEFT_LUNG: "left"}


def dense_part(grid: CoarseGrid, lungs: NDArray[np.uint8], airways: Airways, axes: PatientAxes) -> Remark | None:
    """Point to the largest dense part within the lungs from 5 mL on; vessels and the hila are not meant."""
    part = _largest_part(grid, lungs, airways)
    if part is None:
        return None
    volume_ml = float(part.sum()) * grid.voxel_ml
    side = RIGHT_LUNG if (lungs[part] == RIGHT_LUNG).mean() > 0.5 else LEFT_LUNG
    others = tuple(axis for axis in range(3) if axis != axes.order.index(0))
    plane = int(part.sum(axis=others).argmax())
    return Remark(
        "dense_part",
        f"A dense part of about {volume_ml:.0f} mL lies within the {_NAMES[side]} lung and is counted as lung: mass, "
        "consolidation or collapse.",
        axes.frame_of(plane, grid),
        f"Largest dense part within the lungs: about {volume_ml:.0f} mL, {_NAMES[side]}",
    )


def placed(remark: Remark, grid: CoarseGrid, lungs: NDArray[np.uint8], axes: PatientAxes) -> Remark:
    """Add to a remark on a small lung the axial frame where it is smallest beside the other."""
    areas = {side: (lungs == side).sum(axis=(1, 2)) for side in (RIGHT_LUNG, LEFT_LUNG)}
    small, large = sorted(areas, key=lambda side: int(areas[side].sum()))
    if axes.order[0] != 0 or areas[small].sum() > _SMALL_SHARE * areas[large].sum():
        return remark
    missing = areas[large] - areas[small]
    # One diaphragm stands higher than the other, so the upper half is asked first.
    planes = np.flatnonzero(areas[large])
    upper = np.arange(len(missing)) >= (planes[0] + planes[-1]) / 2
    if missing[upper].sum() > _MISSING_SHARE * areas[large][upper].sum():
        missing = np.where(upper, missing, -1)
    title = f"Least {_NAMES[small]} lung beside the {_NAMES[large]}: lung seems to be missing here"
    return replace(remark, frame=axes.frame_of(int(missing.argmax()), grid), title=title)


def _largest_part(grid: CoarseGrid, lungs: NDArray[np.uint8], airways: Airways) -> Mask | None:
    dense = (lungs > 0) & (grid.hu > _DENSE_HU)
    radius = max(1, round(_VESSEL_RADIUS_MM / grid.spacing_mm[1]))
    labels, count = ndimage.label(ndimage.binary_opening(dense, structure=in_plane(radius)))
    volumes = np.bincount(labels.ravel(), minlength=count + 1) * grid.voxel_ml
    volumes[0] = 0.0
    at_bronchi = np.unique(labels[ndimage.binary_dilation(airways.zone, iterations=2)])
    volumes[at_bronchi] *= volumes[at_bronchi] > LARGEST_HILUM_ML
    largest = int(volumes.argmax())
    return labels == largest if volumes[largest] >= _DENSE_PART_ML else None
