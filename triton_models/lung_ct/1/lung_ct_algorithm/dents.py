"""Soft tissue that dents the lung at the chest wall: masses, thick pleura, fluid that was not counted as lung."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from lung_ct_algorithm.grid import CoarseGrid, Mask, PatientAxes, in_plane
from lung_ct_algorithm.remarks import Remark
from lung_ct_algorithm.sides import LEFT_LUNG, RIGHT_LUNG

# Of soft tissue; ribs bend the lung as well.
_TISSUE_HU = (-300.0, 200.0)
_LEAST_ML = 8.0
_LEAST_RADIUS_MM = 6.0
# Heart and mediastinum dent the lung from the middle: within this angle of it, as seen from the lung's centre.
_MEDIAL_DEGREES = 70.0
_MEDIAL_SHARE = 0.1
# Around the domes of the diaphragm the lung is a crescent.
_LEAST_AREA = 0.4
_NAMES = {RIGHT_LUNG: "right", LEFT_LUNG: "left"}


def dent_at_wall(grid: CoarseGrid, lungs: NDArray[np.uint8], axes: PatientAxes) -> Remark | None:
    """Point to the largest dent of a lung away from the mediastinum, from 8 mL on.

    On axial planes a lung is convex but for what lies in the middle of the body: the rest of its hull is dents.
    """
    largest, side, mask = 0.0, 0, None
    for each in (RIGHT_LUNG, LEFT_LUNG):
        labels, count = ndimage.label(_dents(lungs == each, grid, medial=1 if each == RIGHT_LUNG else -1))
        volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * grid.voxel_ml
        if count and volumes.max() > largest:
            largest, side, mask = float(volumes.max()), each, labels == int(volumes.argmax()) + 1
    if mask is None or largest < _LEAST_ML:
        return None
    others = tuple(axis for axis in range(3) if axis != axes.order.index(0))
    return Remark(
        "dent_at_wall",
        f"Soft tissue of about {largest:.0f} mL dents the {_NAMES[side]} lung at the chest wall and is not counted as "
        "lung: a mass, thick pleura or fluid.",
        axes.frame_of(int(mask.sum(axis=others).argmax()), grid),
        f"Soft tissue at the chest wall, about {largest:.0f} mL, {_NAMES[side]}: not counted as lung",
    )


def _dents(lung: Mask, grid: CoarseGrid, *, medial: int) -> Mask:
    """Return the dents of one lung; columns grow towards the patient's left, `medial` is where the other lung lies."""
    dents = np.zeros_like(lung)
    areas = lung.sum(axis=(1, 2))
    for z in np.flatnonzero(areas > _LEAST_AREA * areas.max()):
        outline = ndimage.binary_fill_holes(lung[z])
        tissue = (grid.hu[z] > _TISSUE_HU[0]) & (grid.hu[z] < _TISSUE_HU[1])
        towards_middle = _towards_middle(outline, grid.spacing_mm, medial)
        for part in _thick_parts(_hull(outline) & ~outline & tissue, grid.spacing_mm[1]):
            if towards_middle[part].mean() < _MEDIAL_SHARE:
                dents[z] |= part
    return dents


def _thick_parts(mask: Mask, pixel_mm: float) -> Iterator[Mask]:
    structure = in_plane(max(1, round(_LEAST_RADIUS_MM / pixel_mm)))[0]
    labels, count = ndimage.label(ndimage.binary_opening(mask, structure=structure))
    yield from (labels == number for number in range(1, count + 1))


def _towards_middle(outline: Mask, spacing_mm: tuple[float, float, float], medial: int) -> Mask:
    at = np.indices(outline.shape)
    y, x = ((at[axis] - at[axis][outline].mean()) * spacing_mm[axis + 1] for axis in (0, 1))
    result: Mask = x * medial > np.cos(np.radians(_MEDIAL_DEGREES)) * np.hypot(y, x)
    return result


def _hull(outline: Mask) -> Mask:
    """Return the convex hull of a mask on its plane."""
    try:
        hull = ConvexHull(np.argwhere(outline & ~ndimage.binary_erosion(outline)))
    except (QhullError, ValueError):  # a line, or a few pixels
        return outline
    rows, columns = np.indices(outline.shape)
    inside = np.ones(outline.shape, bool)
    for a, b, c in hull.equations:
        inside &= a * rows + b * columns + c <= 1e-6
    return inside
