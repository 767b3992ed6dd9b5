"""Measure heart and lungs on a frontal chest radiograph, hung as it is read, from the masks of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radbus_machines.radiograph import SIDE_PX, Letterbox

ZONES = ("upper", "middle", "lower")
_CERTAIN = 0.5
_LEAST_LUNG = 0.02  # of the picture's field
_LEAST_HEART = 0.01
_EDGE_PX = 2
_RIGHT_HIGHER, _LEFT_HIGHER = 0.12, 0.25  # of the longer lung
_MOST_PARTS = 100  # more are noise

Mask = NDArray[np.bool_]
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Width:
    """A horizontal distance between two columns, drawn in a row; in pixels of the hung radiograph."""

    row: float
    start: float
    end: float

    @property
    def pixels(self) -> float:
        """Return its length, the pixels at both ends included."""
        return self.end - self.start + 1


@dataclass(frozen=True, slots=True)
class Masks:
    """Right lung (the patient's), left lung and heart, as the network sees them and as large as the radiograph."""

    picture: tuple[Mask, Mask, Mask]
    full: tuple[Mask, Mask, Mask]

    @classmethod
    def of(cls, probabilities: NDArray[np.float32], box: Letterbox) -> Masks:
        """Make them of probabilities [3, 256, 256]: of each the largest part, none where it is too small to be one."""
        right, left, heart = (np.asarray(each, np.float32) for each in probabilities)
        field = (box.place[1] - box.place[0]) * (box.place[3] - box.place[2])
        heart_there = heart >= np.maximum(right, left)
        small = [
            _largest_part((right >= _CERTAIN) & ~(heart_there & (heart >= _CERTAIN)) & (right >= left)),
            _largest_part((left >= _CERTAIN) & ~(heart_there & (heart >= _CERTAIN)) & (left > right)),
            _largest_part((heart >= _CERTAIN) & heart_there),
        ]
        least = (_LEAST_LUNG * field, _LEAST_LUNG * field, _LEAST_HEART * field)
        picture = [
            mask if mask.sum() >= pixels else np.zeros_like(mask) for mask, pixels in zip(small, least, strict=True)
        ]
        full = [
            box.enlarged(np.where(_grown(mask), each, 0.0)) > _CERTAIN if mask.any() else np.zeros(box.shape, np.bool_)
            for mask, each in zip(picture, (right, left, heart), strict=True)
        ]
        full[0] &= ~full[2]
        full[1] &= ~(full[2] | full[0])
        return cls((picture[0], picture[1], picture[2]), (full[0], full[1], full[2]))

    @property
    def lungs_found(self) -> int:
        """Count the lungs that are large enough to be ones."""
        return sum(bool(mask.any()) for mask in self.picture[:2])

    def cut(self, box: Letterbox) -> frozenset[str]:
        """Name the edges of the field that the lungs reach: top, bottom, sides."""
        up, down, west, east = box.place
        lungs = self.picture[0] | self.picture[1]
        edges = {
            "top": lungs[up : up + _EDGE_PX],
            "bottom": lungs[down - _EDGE_PX : down],
            "sides": np.hstack([lungs[:, west : west + _EDGE_PX], lungs[:, east - _EDGE_PX : east]]),
        }
        return frozenset(name for name, edge in edges.items() if np.count_nonzero(edge) >= 2 * _EDGE_PX)


def heart_width(masks: Masks) -> Width | None:
    """Measure from the heart's rightmost to its leftmost point, as both are at right angles to the midline."""
    heart = masks.full[2]
    columns = np.flatnonzero(heart.any(axis=0))
    if not columns.size:
        return None
    rows = [float(np.flatnonzero(heart[:, column]).mean()) for column in (columns[0], columns[-1])]
    return Width(sum(rows) / 2, float(columns[0]), float(columns[-1]))


def thorax_width(masks: Masks) -> Width | None:
    """Measure the widest place between the outer borders of both lungs, in one row."""
    right, left = masks.full[:2]
    rows = np.flatnonzero(right.any(axis=1) & left.any(axis=1))
    if not rows.size:
        return None
    starts = right[rows].argmax(axis=1)
    ends = left.shape[1] - 1 - left[rows][:, ::-1].argmax(axis=1)
    widest = int((ends - starts).argmax())
    return Width(float(rows[widest]), float(starts[widest]), float(ends[widest]))


def shorter_lung(masks: Masks) -> str | None:
    """Name the lung that ends much higher than the other, as none does that is seen down to the diaphragm.

    The right one ends about as low as the left, which the heart hides towards the middle.
    """
    rows = [np.flatnonzero(mask.any(axis=1)) for mask in masks.picture[:2]]
    if not all(each.size for each in rows):
        return None
    lower = (int(rows[0][-1]) - int(rows[1][-1])) / max(len(rows[0]), len(rows[1]))
    if lower < -_RIGHT_HIGHER:
        return "right"
    return "left" if lower > _LEFT_HIGHER else None


def middle_offset(masks: Masks) -> float | None:
    """Return how far the mediastinum's middle lies from that of the chest above the heart, to the patient's left.

    It is a share of the chest's width there, 0 where the patient stands straight and nothing pulls or pushes.
    """
    right, left = masks.picture[:2]
    rows = np.flatnonzero(right.any(axis=1) & left.any(axis=1))
    rows = rows[len(rows) // 8 : len(rows) // 3]
    if len(rows) < 3:
        return None
    outer = right[rows].argmax(axis=1), SIDE_PX - 1 - left[rows][:, ::-1].argmax(axis=1)
    inner = SIDE_PX - 1 - right[rows][:, ::-1].argmax(axis=1), left[rows].argmax(axis=1)
    offsets = ((inner[0] + inner[1]) - (outer[0] + outer[1])) / 2 / np.maximum(outer[1] - outer[0], 1)
    return float(np.median(offsets))


def heart_offset(heart: Width, thorax: Width) -> float:
    """Return how far the heart's middle lies from the chest's, to the patient's left, as a share of its width."""
    return (heart.start + heart.end - thorax.start - thorax.end) / 2 / thorax.pixels


@dataclass(frozen=True, slots=True)
class Opacities:
    """How bright each lung is, by zone and as a whole, in percent of the way from the darkest to the heart's grey."""

    right: float
    left: float
    zones: Mapping[str, tuple[float, float]]

    @property
    def asymmetry(self) -> float:
        """Return by how much the right lung is brighter than the left, in percentage points."""
        return self.right - self.left

    @property
    def least_alike(self) -> str:
        """Name the zone in which the lungs differ most."""
        return max(self.zones, key=lambda zone: abs(self.zones[zone][0] - self.zones[zone][1]))


def opacities(picture: NDArray[np.float32], masks: Masks) -> Opacities | None:
    """Measure how bright the lungs are, within their borders; None where one of them or the heart is absent."""
    right, left, heart = (_shrunk(mask) for mask in masks.picture)
    if not (right.any() and left.any() and heart.any()):
        return None
    full = max(float(np.median(picture[heart])), 1e-3)
    rows = [_thirds(mask) for mask in (right, left)]
    zones = {}
    for zone, of_right, of_left in zip(ZONES, *rows, strict=True):
        if of_right.any() and of_left.any():
            zones[zone] = (_percent(picture[of_right], full), _percent(picture[of_left], full))
    return Opacities(_percent(picture[right], full), _percent(picture[left], full), zones) if zones else None


def contrast(picture: NDArray[np.float32], masks: Masks) -> float | None:
    """Return by how much the heart is brighter than the lungs, as a share of the picture's greys."""
    lungs, heart = _shrunk(masks.picture[0] | masks.picture[1]), _shrunk(masks.picture[2])
    if not (lungs.any() and heart.any()):
        return None
    return float(np.median(picture[heart]) - np.median(picture[lungs]))


def clipped(values: NDArray[Any], lungs: Mask) -> float:
    """Return the share of the lungs' pixels that have the image's lowest or highest value: there nothing is shown."""
    inside = values[lungs]
    if not inside.size:
        return 0.0
    return float(np.mean((inside == values.min()) | (inside == values.max())))


def _percent(greys: NDArray[np.float32], full: float) -> float:
    return 100.0 * float(np.mean(greys)) / full


def _thirds(mask: Mask) -> list[Mask]:
    rows = np.flatnonzero(mask.any(axis=1))
    edges = np.linspace(rows[0], rows[-1] + 1, len(ZONES) + 1).round().astype(int)
    parts = []
    for start, end in pairwise(edges):
        part = np.zeros_like(mask)
        part[start:end] = mask[start:end]
        parts.append(part)
    return parts


def _grown(mask: Mask) -> Mask:
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def _shrunk(mask: Mask) -> Mask:
    return ~_grown(_grown(_grown(~mask)))


def _largest_part(mask: Mask) -> Mask:
    """Return the largest part that hangs together."""
    left_over, largest = mask.copy(), np.zeros_like(mask)
    for _ in range(_MOST_PARTS):
        if np.count_nonzero(left_over) <= np.count_nonzero(largest):
            break
        part = np.zeros_like(mask)
        part[np.unravel_index(int(left_over.argmax()), mask.shape)] = True
        part = _filled(part, left_over)
        if np.count_nonzero(part) > np.count_nonzero(largest):
            largest = part
        left_over &= ~part
    return largest


def _filled(part: Mask, within: Mask) -> Mask:
    """Grow a part to all that hangs together with it."""
    size = 0
    while (grown := int(np.count_nonzero(part))) > size:
        size = grown
        for _ in range(8):
            part = _grown(part) & within
    return part
