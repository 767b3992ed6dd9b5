"""Masses too large for a closing: enclosed by lung in the plane, or bulging into it from the chest wall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lung_ct_algorithm.grid import Box, Mask, axial_components, box_around, without_axial_holes

Spacing = tuple[float, float, float]

LARGEST_HILUM_ML = 20.0
_NECKS_MM = (10.0, 14.0, 20.0)
_WALL_DENT_MM = 30.0
_STRAIGHT_MM = 100.0
_BEHIND_MM = 8.0
_STALK_MM = 5.0
_ENCLOSED_SHARE = 0.75
_BULGE_SHARE = 0.58
_LEAK_SHARE = 0.2
_WAIST_SHARE = 0.7  # a ball that is cut so stands on less than a quarter of its surface
_LEAST_ML = 3.0
_WALL_LEAK_SHARE = 0.25
_NEAR_BLOCKS = 2
_LARGEST_MM = 70.0
_FAR_MM = 1e6


def lateral_columns(air: Mask, *, lateral_is_left: bool) -> Mask:
    """Tell, plane by plane, the columns beyond the middle of the lung, seen from the mediastinum."""
    columns = np.arange(air.shape[2])
    profile = air.sum(axis=1)
    middle = (profile @ columns) / np.maximum(profile.sum(axis=1), 1)
    beyond = columns[None] > middle[:, None] if lateral_is_left else columns[None] < middle[:, None]
    return np.broadcast_to((beyond & profile.any(axis=1)[:, None])[:, None], air.shape)


def enclosed_masses(solid: Mask, airways: Mask, spacing_mm: Spacing) -> Mask:
    """Find what lung encloses plane by plane, but for a neck of up to 40 mm, and closes below.

    A dome of the diaphragm is enclosed in some planes too, but goes on into the abdomen below them. What goes on above
    counts: the lower end of a collapsed lobe does. Something small with a neck at a main bronchus is the hilum.
    """
    masses = _closed_below(without_axial_holes(solid) & ~solid, solid, airways, spacing_mm, necked=False)
    known = solid | masses
    behind = np.zeros_like(solid)
    for radius_mm in _NECKS_MM:
        behind |= _behind_necks(known, radius_mm, spacing_mm)
    return masses | _closed_below(behind, known, airways, spacing_mm, necked=True)


def _closed_below(enclosed: Mask, solid: Mask, airways: Mask, spacing_mm: Spacing, *, necked: bool) -> Mask:
    masses = np.zeros_like(solid)
    for box, whole in _parts(enclosed):
        part = whole
        below, above = _leaks(part, solid[box])
        if below > _LEAK_SHARE:
            part = _above_waist(whole, spacing_mm)
        shut = not necked and below + above <= _LEAK_SHARE
        if part.any() and (shut or not _is_hilum(part, airways[box], spacing_mm)):
            masses[box] |= part
    return masses


def _above_waist(part: Mask, spacing_mm: Spacing) -> Mask:
    """Return what sits on something broader, such as a mass on the diaphragm, down to its narrowest plane."""
    areas = part.sum(axis=(1, 2))
    widest_above = np.maximum.accumulate(areas[::-1])[::-1]
    upper = np.zeros_like(part)
    for plane in range(len(areas) - 2, 0, -1):
        if areas[plane] <= _WAIST_SHARE * widest_above[plane] and areas[plane - 1] >= areas[plane] > 0:
            upper[plane:] = part[plane:]
            break
    return upper if upper.sum() * float(np.prod(spacing_mm)) / 1000.0 >= _LEAST_ML else np.zeros_like(part)


def wall_masses(solid: Mask, lateral: Mask, spacing_mm: Spacing) -> Mask:
    """Find what bulges into the lung from the lateral chest wall, about half a ball or more, and ends below and above.

    An effusion or a thick pleura is flatter; the diaphragm goes on below.
    """
    full = _closed_in_plane(solid, _WALL_DENT_MM, spacing_mm)
    dents = _opened_in_plane(full & ~solid, _STALK_MM, spacing_mm)
    bulges = np.zeros_like(solid)
    for plane, part in _axial_parts(dents, spacing_mm):
        lung, open_ = _borders(part, solid[plane], full[plane])
        wall = open_ & lateral[plane]
        if lung.sum() >= _BULGE_SHARE * (lung | open_).sum() and wall.sum() >= _ENCLOSED_SHARE * open_.sum():
            bulges[plane] |= part
    masses = np.zeros_like(solid)
    for box, part in _parts(bulges):
        if max(_worst_leak(part, solid[box]), _worst_leak(part[::-1], solid[box][::-1])) <= _WALL_LEAK_SHARE:
            masses[box] |= part
    return masses | _up_to_the_wall(masses, solid, spacing_mm)


def _up_to_the_wall(masses: Mask, solid: Mask, spacing_mm: Spacing) -> Mask:
    """Find what lies between masses and the chest wall, whose line goes on behind them almost straight."""
    box = box_around(masses, _WALL_DENT_MM, spacing_mm)
    found = np.zeros_like(masses)
    if masses.any():
        full = _closed_in_plane((solid | masses)[box], _STRAIGHT_MM, spacing_mm)
        found[box] = full & (_distance_in_plane(~masses[box], spacing_mm) <= _BEHIND_MM) & ~solid[box]
    return found


def _behind_necks(solid: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Find what is enclosed on most sides in its plane once necks are closed."""
    full = without_axial_holes(_closed_in_plane(solid, radius_mm, spacing_mm))
    masses = np.zeros_like(solid)
    for plane, part in _axial_parts(_opened_in_plane(full & ~solid, _STALK_MM, spacing_mm), spacing_mm):
        lung, open_ = _borders(part, solid[plane], full[plane])
        if lung.sum() >= _ENCLOSED_SHARE * (lung | open_).sum():
            masses[plane] |= part
    return masses


def _borders(part: Mask, solid: Mask, full: Mask) -> tuple[Mask, Mask]:
    """Return the pixels just outside a part of one plane: those of the lung, and those where it is open."""
    rim = ndimage.binary_dilation(part) & ~part
    return rim & solid, rim & ~full


def _leaks(part: Mask, solid: Mask) -> tuple[float, float]:
    """Return how much of a part has neither lung nor the part itself below, and above, as share of its widest plane."""
    blocked = part | solid
    widest = int(part.sum(axis=(1, 2)).max())
    below, above = int((part[1:] & ~blocked[:-1]).sum()), int((part[:-1] & ~blocked[1:]).sum())
    if part[0].any():  # the lowest plane of the array has nothing below
        below += widest
    return below / widest, above / widest


def _worst_leak(part: Mask, solid: Mask) -> float:
    """Return the largest share of the widest plane that any one plane leaves open below."""
    widest = int(part.sum(axis=(1, 2)).max())
    if part[0].any():
        return 1.0
    return float((part[1:] & ~(part | solid)[:-1]).sum(axis=(1, 2)).max()) / widest


def _is_hilum(part: Mask, airways: Mask, spacing_mm: Spacing) -> bool:
    """Tell whether a part lies at a main bronchus and is no larger than its vessels."""
    if part.sum() * float(np.prod(spacing_mm)) / 1000.0 > LARGEST_HILUM_ML:
        return False
    return bool((ndimage.binary_dilation(part, iterations=_NEAR_BLOCKS) & airways).any())


def _parts(mask: Mask) -> Iterator[tuple[Box, Mask]]:
    """Give each connected part in its box, with the plane below, the plane above and a margin in the plane."""
    labels, _ = ndimage.label(mask)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        margins = (1, _NEAR_BLOCKS, _NEAR_BLOCKS)
        z, y, x = (slice(max(0, side.start - m), side.stop + m) for side, m in zip(box, margins, strict=True))
        yield (z, y, x), labels[z, y, x] == label


def _axial_parts(mask: Mask, spacing_mm: Spacing) -> Iterator[tuple[tuple[int, slice, slice], Mask]]:
    """Give each connected part of each plane that is not too large for a mass, in its box with a margin of a pixel."""
    labels, _ = axial_components(mask)
    for label, (z, y, x) in enumerate(ndimage.find_objects(labels), start=1):
        if max((y.stop - y.start) * spacing_mm[1], (x.stop - x.start) * spacing_mm[2]) <= _LARGEST_MM:
            box = z.start, slice(max(0, y.start - 1), y.stop + 1), slice(max(0, x.start - 1), x.stop + 1)
            yield box, labels[box] == label


def _distance_in_plane(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float64]:
    """Return the distance to the nearest background of the same plane."""
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(mask, sampling=(_FAR_MM, *spacing_mm[1:]))
    return distance


def _closed_in_plane(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    pads = ((0, 0), *((int(np.ceil(radius_mm / spacing)) + 1,) * 2 for spacing in spacing_mm[1:]))
    if not mask.any():
        return mask.copy()
    grown = _distance_in_plane(~np.pad(mask, pads), spacing_mm) <= radius_mm
    shrunk = _distance_in_plane(grown, spacing_mm) > radius_mm
    (_, _), (top, bottom), (left, right) = pads
    result: Mask = shrunk[:, top : shrunk.shape[1] - bottom, left : shrunk.shape[2] - right] | mask
    return result


def _opened_in_plane(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    core = _distance_in_plane(mask, spacing_mm) > radius_mm
    if not core.any():
        return core
    return mask & (_distance_in_plane(~core, spacing_mm) <= radius_mm)
