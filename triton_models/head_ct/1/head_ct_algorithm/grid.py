"""A coarse copy of the volume for the heavy morphology, and that morphology in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Hu = NDArray[np.float32]
Spacing = tuple[float, float, float]

COARSE_MM = 1.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Block means of a volume [superior, posterior, left]: HU, voxels of about 1 mm or the slice spacing."""

    hu: Hu
    factors: tuple[int, int, int]
    spacing_mm: Spacing

    @classmethod
    def of(cls, volume: NDArray[np.int16], spacing_mm: Spacing) -> Grid:
        """Average blocks of voxels; the last block of an axis repeats the edge."""
        factors = tuple(max(1, round(COARSE_MM / spacing)) for spacing in spacing_mm)
        fz, fy, fx = factors
        pads = [(0, -size % factor) for size, factor in zip(volume.shape, factors, strict=True)]
        planes = []
        for z in range(0, volume.shape[0], fz):
            slab = volume[z : z + fz].mean(axis=0, dtype=np.float32)
            slab = np.pad(slab, pads[1:], mode="edge")
            rows, columns = slab.shape[0] // fy, slab.shape[1] // fx
            planes.append(slab.reshape(rows, fy, columns, fx).mean(axis=(1, 3)))
        coarse = spacing_mm[0] * fz, spacing_mm[1] * fy, spacing_mm[2] * fx
        return cls(np.stack(planes), (fz, fy, fx), coarse)

    @property
    def voxel_ml(self) -> float:
        """Volume of a coarse voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def refined(self, coarse: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Repeat a coarse array to the shape of the fine volume."""
        for axis, factor in enumerate(self.factors):
            coarse = np.repeat(coarse, factor, axis=axis) if factor > 1 else coarse
        return coarse[: shape[0], : shape[1], : shape[2]]

    def plane_of(self, fine: int) -> int:
        """Return the coarse plane in which a fine one lies."""
        return fine // self.factors[0]


def grown(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Grow a mask by a ball."""
    if not mask.any():
        return mask.copy()
    result: Mask = ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= radius_mm
    return result


def shrunk(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Shrink a mask by a ball; beyond the array lies what lies at its edge."""
    if mask.all():
        return mask.copy()
    result: Mask = ndimage.distance_transform_edt(mask, sampling=spacing_mm) > radius_mm
    return result


def opened(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Take away what no ball fits into; one plane counts as thick as its spacing says."""
    return grown(shrunk(mask, radius_mm, spacing_mm), radius_mm, spacing_mm) & mask


def closed(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Close gaps that no ball fits through."""
    pads = [(int(np.ceil(radius_mm / spacing)) + 1,) * 2 for spacing in spacing_mm]
    wide = grown(np.pad(mask, pads), radius_mm, spacing_mm)
    narrow = shrunk(wide, radius_mm, spacing_mm)
    inner = tuple(slice(low, size - high) for (low, high), size in zip(pads, narrow.shape, strict=True))
    result: Mask = narrow[inner] | mask
    return result


def largest(mask: Mask) -> Mask:
    """Keep the largest connected part."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    result: Mask = labels == int(sizes.argmax())
    return result


def without_axial_holes(mask: Mask) -> Mask:
    """Fill what is enclosed within each axial plane."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])
