"""Find the lung fields as the dark parts within the body, and the heart as what lies between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_THRESHOLDS = np.arange(0.2, 0.66, 0.02)
_SMOOTH_PX = 2.0
_LEAST, _MOST = 0.025, 0.3  # of the field, one lung
_BESIDE = 0.5  # of the shorter lung's height: the lungs stand beside each other
_LEAP = 0.05  # of the field, from one threshold to the next: it has run into something else
_WIDEST_MIDDLE = 1.0  # of the lungs beside it
_DARKER = 0.12  # than what is between them
_LONGER, _LONGEST = 1.1, 3.5  # times as long as wide; the gut may be longer
_ALONE_AREA, _ALONE_HEIGHT = 0.05, 0.4  # of the field, a lung beside an opaque one
_OWN_HALF = 0.8  # of it lies on its side of the field's middle
_BRIGHT = 0.5  # of the field's other half, where a second lung would be
_RING_PX = (4, 12)  # around a lung: chest wall, diaphragm, mediastinum
_HEART_FROM, _HEART_TO = 0.5, 0.9  # of the way from the lungs' tops to the lower end of the shorter one
_UNSURE, _SURE = 0.03, 0.94

Mask = NDArray[np.bool_]
Grey = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Seen:
    """Probabilities: `masks` [3, 256, 256] of right lung, left lung, heart; `view` of frontal, lateral, no chest."""

    masks: Grey
    view: Grey


def look(picture: Grey) -> Seen:
    """Look at a picture [256, 256], 0 to 1, lungs dark, hung as it is read; its margins are 0."""
    field = _field(picture)
    grey = ndimage.gaussian_filter(picture, _SMOOTH_PX)
    lungs = _lungs(grey, field)
    masks = np.zeros((3, *picture.shape), np.float32)
    if lungs is None:
        return Seen(masks, np.array([_UNSURE, _UNSURE, _SURE], np.float32))
    right, left = lungs
    heart = _heart(right, left)
    for number, mask in enumerate((right, left, heart)):
        masks[number] = ndimage.gaussian_filter(mask.astype(np.float32), 1.0)
    return Seen(masks, np.array([_SURE, _UNSURE, _UNSURE], np.float32))


def _field(picture: Grey) -> Mask:
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    field = np.zeros(picture.shape, np.bool_)
    if rows.size:
        field[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return field


def _lungs(grey: Grey, field: Mask) -> tuple[Mask, Mask] | None:
    """Take of each lung the highest threshold before it runs out of the body or into something else."""
    grown: list[Mask | None] = [None, None]
    ended = [False, False]
    for threshold in _THRESHOLDS:
        for side, mask in enumerate(_sides(grey < threshold, field)):
            before = grown[side]
            if ended[side] or (mask is None and before is None):
                continue
            if mask is None or (before is not None and mask.sum() - before.sum() > _LEAP * field.sum()):
                ended[side] = True
            else:
                grown[side] = mask
    right, left = grown
    if right is not None and left is not None and _are_lungs(right, left, grey):
        return _whole(right) & ~_whole(left), _whole(left) & ~_whole(right)
    nothing = np.zeros(field.shape, np.bool_)
    if right is not None and _is_beside_an_opaque_one(right, grey, field):
        return _whole(right), nothing
    if left is not None and _is_beside_an_opaque_one(left, grey, field):
        return nothing, _whole(left)
    return None


def _sides(dark: Mask, field: Mask) -> tuple[Mask | None, Mask | None]:
    """Return the largest dark part inside the body in the right and in the left half of the field."""
    labels, count = ndimage.label(ndimage.binary_opening(dark & field, iterations=2))
    edge = field & ~ndimage.binary_erosion(field, iterations=2)
    sizes = np.bincount(labels.ravel(), minlength=count + 1).astype(np.float64)
    sizes[np.unique(labels[edge])] = sizes[0] = 0
    area = float(field.sum())
    middle = float(np.flatnonzero(field.any(axis=0)).mean()) if area else 0.0
    largest: list[tuple[float, Mask | None]] = [(0.0, None), (0.0, None)]
    for label in np.flatnonzero((sizes > _LEAST * area) & (sizes < _MOST * area)):
        part = labels == label
        side = int(float(ndimage.center_of_mass(part)[1]) > middle)
        if sizes[label] > largest[side][0]:
            largest[side] = (float(sizes[label]), part)
    return largest[0][1], largest[1][1]


def _are_lungs(right: Mask, left: Mask, grey: Grey) -> bool:
    """Tell whether two dark parts stand beside each other, alike in height, with something brighter between them."""
    heights = [_span(mask.any(axis=1)) for mask in (right, left)]
    overlap = min(h[1] for h in heights) - max(h[0] for h in heights)
    lengths = [h[1] - h[0] for h in heights]
    if overlap < _BESIDE * min(lengths) or min(lengths) < 0.45 * max(lengths):
        return False
    if max(lengths) < _LONGER * max(_span(mask.any(axis=0))[1] - _span(mask.any(axis=0))[0] for mask in (right, left)):
        return False
    start, end = max(h[0] for h in heights), min(h[1] for h in heights)
    between = _between(right, left, start, end)
    if between.sum() < 20 or between.sum() > _WIDEST_MIDDLE * float(right[start:end].sum() + left[start:end].sum()):
        return False
    darkness = float(np.median(grey[between])) - float(np.median(grey[right | left]))
    return darkness > _DARKER


def _is_beside_an_opaque_one(lung: Mask, grey: Grey, field: Mask) -> bool:
    """Tell whether a dark part is a lung and the field's other half as bright as what surrounds it.

    On a negative of that the dark half is no darker than its surroundings, and the other one is much brighter.
    """
    rows, columns = _span(lung.any(axis=1)), _span(lung.any(axis=0))
    height, width = rows[1] - rows[0], columns[1] - columns[0]
    if not _LONGER * width <= height <= _LONGEST * width or height < _ALONE_HEIGHT * field.any(axis=1).sum():
        return False
    west, east = _span(field.any(axis=0))
    opposite = np.zeros_like(lung)
    opposite[:, west:east] = lung[:, west:east][:, ::-1]
    if lung.sum() < _ALONE_AREA * field.sum() or (lung & ~opposite).sum() < _OWN_HALF * lung.sum():
        return False
    distance = ndimage.distance_transform_edt(~lung)
    ring = (distance > _RING_PX[0]) & (distance <= _RING_PX[1]) & field
    dark = float(np.median(grey[lung]))
    darker_by = float(np.median(grey[ring])) - dark
    beside = grey[opposite & ~lung] - dark
    return darker_by > max(_DARKER, float(np.median(beside)) / 2) and float(np.mean(beside > _DARKER)) > _BRIGHT


def _span(line: NDArray[Any] | np.bool_) -> tuple[int, int]:
    where = np.flatnonzero(line)
    return (int(where[0]), int(where[-1]) + 1) if where.size else (0, 0)


def _whole(lung: Mask) -> Mask:
    """Take in ribs and vessels."""
    disc = np.hypot(*np.mgrid[-7:8, -7:8]) <= 7.0
    return np.asarray(ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(lung, 8), disc)[8:-8, 8:-8]), np.bool_)


def _heart(right: Mask, left: Mask) -> Mask:
    top = min(_span(right.any(axis=1))[0], _span(left.any(axis=1))[0])
    bottom = min(_span(right.any(axis=1))[1], _span(left.any(axis=1))[1])
    length = bottom - top
    return _between(right, left, top + round(_HEART_FROM * length), top + round(_HEART_TO * length))


def _between(right: Mask, left: Mask, top: int, bottom: int) -> Mask:
    between = np.zeros(right.shape, np.bool_)
    for row in range(top, bottom):
        start, end = _span(right[row])[1], _span(left[row])[0]
        if 0 < start < end:
            between[row, start:end] = True
    return between
