"""The trachea and main bronchi, followed plane by plane from the neck to the hila."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lung_ct_algorithm.grid import CoarseGrid, Mask, axial_components, in_plane

LUMEN_HU = -650.0
_TRACHEA_AREA_MM2 = (50.0, 800.0)
_BRONCHI_AREA_MM2 = 1300.0
_OFF_MIDLINE_MM = 55.0
_SHORTEST_TRACHEA_MM = 25.0
_CARINA_WIDTH_MM = 30.0
_BELOW_CARINA_MM = 55.0
_TIGHTER_HU = (LUMEN_HU, -800.0, -880.0, -930.0)


@dataclass(frozen=True, slots=True)
class Airways:
    """Coarse masks of the lumen and of what the lungs must leave out around it, and the midline in coarse columns."""

    lumen: Mask
    zone: Mask
    midline: float
    found: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    label: int
    plane: int
    y_mm: float
    x_mm: float


def find_airways(grid: CoarseGrid, body: Mask) -> Airways:
    """Find the trachea as the longest chain of round central lumens, then follow the bronchi down to the lungs."""
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    midline = float(body.sum(axis=(0, 1)) @ np.arange(body.shape[2]) / max(1, body.sum())) if columns.size else 0.0
    labels, _ = axial_components((grid.hu < LUMEN_HU) & body)
    trachea = _trachea(labels, grid, midline)
    lumen = np.zeros_like(body)
    if not trachea:
        return Airways(lumen, lumen.copy(), midline, found=False)
    for candidate in trachea:
        lumen[candidate.plane] = labels[candidate.plane] == candidate.label
    _follow_down(lumen, grid, body, start=max(c.plane for c in trachea))
    midline = float(np.mean([c.x_mm for c in trachea])) / grid.spacing_mm[2]
    return Airways(lumen, ndimage.binary_dilation(lumen, structure=in_plane()), midline, found=True)


def _trachea(labels: NDArray[np.int32], grid: CoarseGrid, midline: float) -> list[_Candidate]:
    by_plane: dict[int, list[_Candidate]] = {}
    for candidate in _candidates(labels, grid, midline):
        by_plane.setdefault(candidate.plane, []).append(candidate)
    reach_mm = 6.0 + 0.8 * grid.spacing_mm[0]
    chains: dict[int, list[_Candidate]] = {}
    for plane in sorted(by_plane, reverse=True):
        for candidate in by_plane[plane]:
            above = [
                chains[c.label]
                for c in by_plane.get(plane + 1, [])
                if np.hypot(c.y_mm - candidate.y_mm, c.x_mm - candidate.x_mm) <= reach_mm
            ]
            chains[candidate.label] = [*max(above, key=len, default=[]), candidate]
    # Of equally long chains the one nearer the midline wins: the tip of a lung is lateral, the oesophagus is short.
    best = max(
        chains.values(),
        key=lambda c: len(c) * grid.spacing_mm[0] - abs(c[0].x_mm / grid.spacing_mm[2] - midline),
        default=[],
    )
    return best if len(best) >= 2 and len(best) * grid.spacing_mm[0] >= _SHORTEST_TRACHEA_MM else []


def _candidates(labels: NDArray[np.int32], grid: CoarseGrid, midline: float) -> list[_Candidate]:
    _, dy, dx = grid.spacing_mm
    low, high = _TRACHEA_AREA_MM2
    areas = np.bincount(labels.ravel())
    found = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or not low <= areas[label] * dy * dx <= high:
            continue
        height, width = (box[1].stop - box[1].start) * dy, (box[2].stop - box[2].start) * dx
        round_ = max(height, width) <= 2.6 * min(height, width) and areas[label] * dy * dx >= 0.5 * height * width
        y, x = np.nonzero(labels[box][0] == label)
        y_mm, x_mm = (box[1].start + y.mean()) * dy, (box[2].start + x.mean()) * dx
        inside = grid.hu[box][0][y, x]
        if round_ and abs(x_mm - midline * dx) <= _OFF_MIDLINE_MM and float(inside.min()) < -850.0:
            found.append(_Candidate(label, box[0].start, float(y_mm), float(x_mm)))
    return found


def _follow_down(lumen: Mask, grid: CoarseGrid, body: Mask, *, start: int) -> None:
    """Add to each plane the lumens that continue those above it, down to a little below the carina."""
    reach = 2 + round(0.5 * grid.spacing_mm[0] / grid.spacing_mm[1])
    carina: int | None = None
    for plane in range(start - 1, -1, -1):
        near = ndimage.binary_dilation(lumen[plane + 1], structure=in_plane(reach)[0])
        followed = _branches(grid.hu[plane], body[plane], near, grid.spacing_mm[1] * grid.spacing_mm[2])
        if carina is None:
            followed |= lumen[plane]
            carina = plane if _is_split(followed, grid.spacing_mm[2]) else None
        elif (carina - plane) * grid.spacing_mm[0] > _BELOW_CARINA_MM:
            followed[:] = False
        lumen[plane] = followed
        if not followed.any():
            # Below the end, what was taken for trachea was a bronchus within the lung.
            lumen[:plane] = False
            return


def _is_split(lumen: Mask, column_mm: float) -> bool:
    columns = np.flatnonzero(lumen.any(axis=0))
    return columns.size > 0 and float(columns[-1] - columns[0] + 1) * column_mm >= _CARINA_WIDTH_MM


def _branches(hu: NDArray[np.float32], body: Mask, near: Mask, pixel_mm2: float) -> Mask:
    """Take the lumens near those of the plane above, at tighter thresholds where a lumen runs into the lung."""
    accepted = np.zeros_like(body)
    open_to_lung = near
    for threshold in _TIGHTER_HU:
        labels, _ = ndimage.label((hu < threshold) & body)
        for label in np.unique(labels[open_to_lung & (labels > 0)]):
            part = labels == label
            if not (part & accepted).any() and _is_bronchus(part, near, hu, pixel_mm2):
                accepted |= part
    return accepted


def _is_bronchus(part: Mask, near: Mask, hu: NDArray[np.float32], pixel_mm2: float) -> bool:
    pixels = int(part.sum())
    if not 4 <= pixels <= _BRONCHI_AREA_MM2 / pixel_mm2 or (part & near).sum() < 0.25 * pixels:
        return False
    # A main bronchus runs through the mediastinum; what has lung around it belongs to the lung.
    around = ndimage.binary_dilation(part, structure=in_plane(3)[0])
    wall = ndimage.binary_dilation(part, structure=in_plane(1)[0])
    ring = hu[around & ~wall]
    return ring.size > 0 and float((ring < -600.0).mean()) <= 0.35
