"""What belongs to a lung though it is dense: vessels, nodules, and the masses that are told in `masses.py`."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lung_ct_algorithm.grid import Mask, axial_components, closed, dilated
from lung_ct_algorithm.masses import enclosed_masses, lateral_columns, wall_masses

CLOSING_MM = 9.0
WALL_CLOSING_MM = 18.0
_THIN_MM = 2.5
_GROUND_MM = 25.0


def with_dense_parts(
    air: Mask, forbidden: Mask, airways: Mask, spacing_mm: tuple[float, float, float], *, lateral_is_left: bool
) -> Mask:
    """Return a lung's air with the dense parts that it encloses.

    A ball of 9 mm does not enter smaller dents anywhere; at the chest wall, where a healthy lung has no deep dents, nor
    does one of 18 mm. Masses beyond that size are taken in whole where lung (or lung and chest wall) encloses them.
    `forbidden` (the other lung, airways, gas, bone, outside) is never added.
    """
    lateral = lateral_columns(air, lateral_is_left=lateral_is_left)
    solid = closed(air, CLOSING_MM, spacing_mm)
    solid |= _at_chest_wall(solid, lateral, spacing_mm)
    solid &= ~_standing_outside(solid, air, spacing_mm[0])
    solid = np.asarray(ndimage.binary_fill_holes(solid), dtype=bool)
    solid |= enclosed_masses(solid, airways, spacing_mm)
    solid |= wall_masses(solid, lateral, spacing_mm)
    return air | (solid & ~forbidden)


def _standing_outside(solid: Mask, air: Mask, plane_mm: float) -> Mask:
    """Find what a closing bridged above the diaphragm, the heart or the hilum: it stands on tissue and not on lung."""
    ground_mm = np.where(solid[0], 0.0, _GROUND_MM + 1.0)
    standing = np.zeros_like(solid)
    for plane in range(len(solid)):
        bridged = solid[plane] & ~air[plane]
        ground_mm = np.where(air[plane], 0.0, np.where(bridged, ground_mm, ground_mm + plane_mm))
        standing[plane] = bridged & (ground_mm > _GROUND_MM)
    return standing


def _at_chest_wall(solid: Mask, lateral: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Find deep dents that lie mostly lateral to the middle of the lung; shallow ones are the prints of ribs."""
    dents = closed(solid, WALL_CLOSING_MM, spacing_mm) & ~solid
    deep: Mask = ndimage.distance_transform_edt(dents, sampling=spacing_mm) > _THIN_MM
    dents &= dilated(deep, 2 * _THIN_MM, spacing_mm)
    # A dent is taken whole or not at all: a cut at the middle would leave a straight edge within the lung.
    parts, count = axial_components(dents)
    share = np.bincount(parts[lateral], minlength=count + 1) / np.maximum(np.bincount(parts.ravel()), 1)
    taken: Mask = (share > 0.5)[parts] & dents
    return taken
