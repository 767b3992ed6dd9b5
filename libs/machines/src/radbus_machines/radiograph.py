"""Radiographs as their network sees them: one picture of one size; its training and its machine share this.

A picture is float32 [256, 256] from 0 (black) to 1 in the sense of MONOCHROME2 (lungs dark), as a radiologist hangs it:
the patient's head up and, on a frontal view, the patient's right at the picture's left. What lies outside the
collimated field is cut off, the rest is shrunk into the middle of a square; the margins are 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 256
_DARKEST, _BRIGHTEST = 1.0, 99.0  # percentiles
_FLAT = 0.02  # of the range of grey values: so close to black or white all of a line is a shutter
_LEAST_FIELD = 0.25  # of each side: less is no field, and all is taken


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a radiograph of `shape` lies in its picture: pixels `field` of it (top, bottom, left, right) at `place`."""

    shape: tuple[int, int]
    field: tuple[int, int, int, int]
    place: tuple[int, int, int, int]

    def shrunk(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Show an image or a mask of the radiograph's shape as the picture: means of areas, margins of 0."""
        top, bottom, left, right = self.field
        up, down, west, east = self.place
        picture = np.zeros((SIDE_PX, SIDE_PX), np.float32)
        rows, columns = _areas(bottom - top, down - up), _areas(right - left, east - west)
        picture[up:down, west:east] = rows @ np.asarray(image[top:bottom, left:right], np.float32) @ columns.T
        return picture

    def enlarged(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Show a picture [256, 256] in the radiograph's shape, between its pixels linearly; 0 outside the field."""
        top, bottom, left, right = self.field
        up, down, west, east = self.place
        image = np.zeros(self.shape, np.float32)
        rows, columns = _between(down - up, bottom - top), _between(east - west, right - left)
        image[top:bottom, left:right] = rows @ np.asarray(picture[up:down, west:east], np.float32) @ columns.T
        return image


def picture_of(
    grey: NDArray[np.float32], *, spacing_mm: tuple[float, float] = (1.0, 1.0)
) -> tuple[NDArray[np.float32], Letterbox]:
    """Make the picture of a radiograph `grey` [rows, columns], in any unit, lungs dark, hung as said above.

    `spacing_mm` is that of rows and columns; only their ratio matters. 0 and 1 are the 1st and the 99th percentile of
    the grey values within the collimated field.
    """
    top, bottom, left, right = field = collimated_field(grey)
    box = Letterbox((grey.shape[0], grey.shape[1]), field, _place(field, spacing_mm))
    inside = grey[top:bottom, left:right]
    steps = (max(1, inside.shape[0] // 512), max(1, inside.shape[1] // 512))
    dark, bright = (float(v) for v in np.percentile(inside[:: steps[0], :: steps[1]], (_DARKEST, _BRIGHTEST)))
    scaled = np.clip((np.asarray(grey, np.float32) - dark) / max(bright - dark, 1e-6), 0.0, 1.0)
    return box.shrunk(scaled), box


def collimated_field(grey: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of what is not shutter: lines at the borders that are all black or all white.

    A marker on a shutter does not make it a part of the field.
    """
    dark, bright = (float(v) for v in np.percentile(grey[::4, ::4], (0.5, 99.5)))
    flat = _FLAT * max(bright - dark, 1e-6)
    ends = (dark + flat, bright - flat)
    top, bottom = _shown(grey[:, :: max(1, grey.shape[1] // 256)], ends)
    left, right = _shown(grey[top:bottom].T[:, :: max(1, (bottom - top) // 256)], ends)
    if bottom - top < _LEAST_FIELD * grey.shape[0] or right - left < _LEAST_FIELD * grey.shape[1]:
        return 0, grey.shape[0], 0, grey.shape[1]
    return top, bottom, left, right


def _shown(lines: NDArray[np.float32], ends: tuple[float, float]) -> tuple[int, int]:
    low, high = np.percentile(lines, (10, 90), axis=1)
    shown = np.flatnonzero((high > ends[0]) & (low < ends[1]))
    return (int(shown[0]), int(shown[-1]) + 1) if shown.size else (0, len(lines))


def _place(field: tuple[int, int, int, int], spacing_mm: tuple[float, float]) -> tuple[int, int, int, int]:
    top, bottom, left, right = field
    height, width = (bottom - top) * spacing_mm[0], (right - left) * spacing_mm[1]
    scale = SIDE_PX / max(height, width)
    rows, columns = (min(SIDE_PX, max(1, round(side * scale))) for side in (height, width))
    up, west = (SIDE_PX - rows) // 2, (SIDE_PX - columns) // 2
    return up, up + rows, west, west + columns


def _areas(many: int, few: int) -> NDArray[np.float32]:
    """Return the matrix [few, many] that averages what lies under each of `few` cells."""
    edges = np.linspace(0.0, many, few + 1)
    cells = np.arange(many)
    covered = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    covered = np.clip(covered, 0.0, None)
    return np.asarray(covered / covered.sum(axis=1, keepdims=True), np.float32)


def _between(few: int, many: int) -> NDArray[np.float32]:
    """Return the matrix [many, few] that reads `few` cells at the middles of `many`, linearly."""
    places = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0.0, few - 1.0)
    return np.asarray(np.clip(1.0 - np.abs(places[:, None] - np.arange(few)), 0.0, None), np.float32)
