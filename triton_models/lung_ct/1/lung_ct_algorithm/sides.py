"""Which air is lung, and which lung is the right and which the left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lung_ct_algorithm.grid import CoarseGrid, Mask, box_around, dilated, in_plane

RIGHT_LUNG, LEFT_LUNG = 1, 2
_LUNG_ML = 80.0
_PIECE_ML = 2.0
_PIECE_GAP_MM = 15.0
_GAS_HU = -975.0
_PURE_HU = -945.0
_POCKET_ML = 4.0
_POCKET_RADIUS_MM = 4.5
_WALL_HU = -500.0
_TISSUE_SHARE = 0.55
_SPLIT_RADII_MM = (2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 13.0)
_APART_MM = 60.0


@dataclass(frozen=True, slots=True)
class Sides:
    """Coarse labels of the lungs' air (1 right, 2 left) and the gas in the body that is not lung."""

    labels: NDArray[np.uint8]
    gas: Mask


def find_sides(air: Mask, grid: CoarseGrid, midline: float) -> Sides:
    """Choose the lungs among the air-filled parts of the body and tell right from left."""
    gas = _gas_pockets(air, grid)
    parts, count = ndimage.label(air & ~ndimage.binary_dilation(gas, structure=in_plane()))
    volumes = np.bincount(parts.ravel(), minlength=count + 1) * grid.voxel_ml
    volumes[0] = 0.0
    labels = np.zeros(air.shape, np.uint8)
    pieces = []
    for part in np.flatnonzero(volumes >= _PIECE_ML):
        mask = parts == part
        if _is_gas(mask, grid.hu):
            gas |= mask
        elif volumes[part] >= max(_LUNG_ML, 0.05 * volumes.max()):
            _place(mask, labels, grid, midline)
        else:
            pieces.append(mask)
    _add_pieces(pieces, labels, grid)
    return Sides(labels, gas)


def _is_gas(mask: Mask, hu: NDArray[np.float32]) -> bool:
    core = ndimage.binary_erosion(mask, structure=in_plane())
    values = hu[core if core.any() else mask]
    return float(np.percentile(values, 85)) < _PURE_HU


def _gas_pockets(air: Mask, grid: CoarseGrid) -> Mask:
    """Find pockets of pure gas walled by tissue, such as the stomach's, though they touch the lung somewhere.

    A bulla is pure gas too, but it is walled by lung, and stays with it.
    """
    radius = max(2, round(_POCKET_RADIUS_MM / grid.spacing_mm[1]))
    ball = in_plane(radius)
    thin = air & (grid.hu < _PURE_HU)
    labels, _ = ndimage.label(ndimage.binary_opening(air & (grid.hu < _GAS_HU), structure=ball))
    pockets = np.zeros_like(air)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        wide = tuple(slice(max(0, side.start - radius - 1), side.stop + radius + 1) for side in box)
        pocket = labels[wide] == label
        if pocket.sum() * grid.voxel_ml < _POCKET_ML:
            continue
        # Give back what the opening rounded off.
        pocket = ndimage.binary_dilation(pocket, structure=ball, mask=thin[wide])
        near = ndimage.binary_dilation(pocket, structure=in_plane(1))
        shell = ndimage.binary_dilation(near, structure=in_plane(2)) & ~near
        if float((grid.hu[wide][shell] > _WALL_HU).mean()) > _TISSUE_SHARE:
            pockets[wide] |= near & air[wide]
    return pockets


def _place(mask: Mask, labels: NDArray[np.uint8], grid: CoarseGrid, midline: float) -> None:
    """Label one large part, or both of its halves when the lungs touch at the junction lines."""
    columns = mask.sum(axis=(0, 1))
    left_share = float(columns[round(midline) :].sum() / columns.sum())
    if 0.12 < left_share < 0.88:
        box = box_around(mask, 0.0, grid.spacing_mm)
        halves = _halves(mask[box], grid.spacing_mm)
        if halves is not None:
            labels[box] = np.where(halves > 0, halves, labels[box])
            return
    labels[mask] = LEFT_LUNG if left_share > 0.5 else RIGHT_LUNG


def _halves(mask: Mask, spacing_mm: tuple[float, float, float]) -> NDArray[np.uint8] | None:
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    for radius_mm in _SPLIT_RADII_MM:
        cores, count = ndimage.label(depth > radius_mm)
        if count < 2:
            continue
        sizes = np.bincount(cores.ravel())
        sizes[0] = 0
        first, second = (int(label) for label in np.argsort(sizes)[-1:-3:-1])
        x_first, x_second = (float(np.nonzero(cores == c)[2].mean()) for c in (first, second))
        if sizes[second] < 0.08 * mask.sum() or abs(x_first - x_second) * spacing_mm[2] < _APART_MM:
            continue
        right, left = (first, second) if x_first < x_second else (second, first)
        markers = np.where(cores == right, RIGHT_LUNG, np.where(cores == left, LEFT_LUNG, 0)).astype(np.uint8)
        return _nearest(markers, spacing_mm) * mask
    return None


def _nearest(markers: NDArray[np.uint8], spacing_mm: tuple[float, float, float]) -> NDArray[np.uint8]:
    where = ndimage.distance_transform_edt(
        markers == 0, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    nearest: NDArray[np.uint8] = markers[tuple(where)]
    return nearest


def _add_pieces(pieces: list[Mask], labels: NDArray[np.uint8], grid: CoarseGrid) -> None:
    """Give small parts, cut off by effusion or collapse, to the lung beside them; gas below the lungs stays out."""
    if not pieces or not labels.any():
        return
    planes = np.nonzero(labels.any(axis=(1, 2)))[0]
    floor = planes[0] + 0.2 * (planes[-1] - planes[0])
    close = {side: dilated(labels == side, _PIECE_GAP_MM, grid.spacing_mm) for side in (RIGHT_LUNG, LEFT_LUNG)}
    for piece in pieces:
        if float(np.nonzero(piece)[0].mean()) < floor:
            continue
        touching = {side: int((near & piece).sum()) for side, near in close.items()}
        side = max(touching, key=lambda s: touching[s])
        if touching[side] > 0.3 * piece.sum():
            labels[piece] = side
