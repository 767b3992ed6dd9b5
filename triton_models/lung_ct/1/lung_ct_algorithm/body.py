"""The body without table, clothes and outside air, and the threshold between its air and its tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lung_ct_algorithm.grid import CoarseGrid, Mask, in_plane, without_axial_holes

TISSUE_HU = -300.0
_PADDING_HU = -1500.0
_WALL_GAP_MM = 200.0


def find_body(grid: CoarseGrid) -> Mask:
    """Return the patient as a mask without holes: the largest piece of tissue and all that it encloses by plane.

    An opening cuts off what is thin: the shell of the table, blankets, wires. Where the field of view cuts the body,
    its edge stands in for the missing skin, so that a lung that reaches the edge is still enclosed.
    """
    tissue = grid.hu > TISSUE_HU
    opened = ndimage.binary_opening(tissue, structure=in_plane())
    labels, count = ndimage.label(opened)
    if count == 0:
        return np.zeros_like(tissue)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = labels == int(sizes.argmax())
    body = tissue & ndimage.binary_dilation(largest, structure=in_plane())
    valid = _field_of_view(grid.hu)
    filled = without_axial_holes(body | _walls(body, valid, grid.spacing_mm))
    return filled & valid


def air_threshold(hu: NDArray[np.float32], body: Mask) -> float:
    """Find the HU halfway between the means of air-filled and solid body by iteration (after Hu et al. 2001)."""
    values = hu[body]
    threshold = -500.0
    for _ in range(20):
        air, solid = values[values < threshold], values[(values >= threshold) & (values < 200.0)]
        if not air.size or not solid.size:
            return -500.0
        updated = (float(air.mean()) + float(solid.mean())) / 2.0
        if abs(updated - threshold) < 1.0:
            break
        threshold = updated
    return float(np.clip(threshold, -550.0, -380.0))


def _field_of_view(hu: NDArray[np.float32]) -> Mask:
    """Tell the reconstructed part of each plane: not padding, and within the circle when its outside is constant."""
    valid: Mask = hu > _PADDING_HU
    rows, columns = hu.shape[1:]
    y, x = np.ogrid[:rows, :columns]
    radius = min(rows, columns) / 2.0
    distance = np.hypot(y - (rows - 1) / 2.0, x - (columns - 1) / 2.0)
    corners = hu[:, distance > radius + 1.5]
    if corners.size and np.ptp(corners) < 1.0:
        valid &= (distance <= radius - 0.5)[None]
    return valid


def _walls(body: Mask, valid: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Draw the edge of the field of view between neighbouring places where the body is cut by it."""
    padded = np.pad(valid, ((0, 0), (1, 1), (1, 1)))
    edge = valid & ~ndimage.binary_erosion(padded, structure=in_plane())[:, 1:-1, 1:-1]
    walls = np.zeros_like(body)
    contact = edge & body
    for z in np.flatnonzero(contact.any(axis=(1, 2))):
        near = ndimage.distance_transform_edt(~contact[z], sampling=spacing_mm[1:]) <= _WALL_GAP_MM / 2.0
        between = ndimage.distance_transform_edt(near | ~edge[z], sampling=spacing_mm[1:]) > _WALL_GAP_MM / 2.0
        walls[z] = contact[z] | (edge[z] & between)
    return walls
