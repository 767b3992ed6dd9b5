"""The patient's grid: array axes turned to superior, posterior, left, and a coarse copy for the heavy morphology."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]

COARSE_MM = 2.0
_SMOOTH_BLOCKS = 1.0
# Patient axes in the order of the grid: growing superior, growing posterior, growing left (DICOM's z, y, x).
_PATIENT_AXES = (2, 1, 0)


@dataclass(frozen=True, slots=True)
class PatientAxes:
    """Which array axis runs along each patient axis, and whether it runs backwards."""

    order: tuple[int, int, int]
    reversed_: tuple[bool, bool, bool]

    @classmethod
    def of(cls, direction: NDArray[np.floating[Any]]) -> PatientAxes:
        """Read the axes from a 3 x 3 matrix whose columns are the unit vectors of frame, row and column index."""
        best = max(
            itertools.permutations(range(3)),
            key=lambda order: sum(abs(direction[p, a]) for p, a in zip(_PATIENT_AXES, order, strict=True)),
        )
        backwards = [bool(direction[p, a] < 0) for p, a in zip(_PATIENT_AXES, best, strict=True)]
        return cls((best[0], best[1], best[2]), (backwards[0], backwards[1], backwards[2]))

    def view(self, array: NDArray[Any]) -> NDArray[Any]:
        """Show an array along the patient axes without copying it, so that writing to the view writes the array."""
        steps = tuple(slice(None, None, -1 if backwards else 1) for backwards in self.reversed_)
        return array.transpose(self.order)[steps]

    def spacing(self, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Put spacings of the array axes in the order of the patient axes."""
        return spacing_mm[self.order[0]], spacing_mm[self.order[1]], spacing_mm[self.order[2]]

    def frame_of(self, plane: int, grid: CoarseGrid) -> int:
        """Return the volume's frame in the middle of a coarse plane, counted along the patient axis of the frames."""
        axis = self.order.index(0)
        factor, frames = grid.factors[axis], grid.size[axis]
        frame = min(plane * factor + factor // 2, frames - 1)
        return frames - 1 - frame if self.reversed_[axis] else frame


@dataclass(frozen=True, slots=True)
class CoarseGrid:
    """Block means of a volume along the patient axes: HU as float32, voxels of about 2 mm or the slice spacing."""

    hu: NDArray[np.float32]
    factors: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    size: tuple[int, int, int]  # of the fine volume

    @classmethod
    def of(cls, volume: NDArray[np.int16], spacing_mm: tuple[float, float, float]) -> CoarseGrid:
        """Average blocks of voxels; the last block of an axis repeats the edge."""
        factors = tuple(max(1, round(COARSE_MM / spacing)) for spacing in spacing_mm)
        fz, fy, fx = factors
        shape = tuple(-(-size // factor) for size, factor in zip(volume.shape, factors, strict=True))
        hu = np.empty(shape, np.float32)
        pad_y, pad_x = shape[1] * fy - volume.shape[1], shape[2] * fx - volume.shape[2]
        for z in range(shape[0]):
            # Summing frame by frame, then along x and y by strided adds, is several times as fast as mean(axis=...).
            slab = volume[z * fz : (z + 1) * fz]
            plane = slab.sum(axis=0, dtype=np.int32) if len(slab) > 1 else slab[0].astype(np.int32)
            plane = np.pad(plane, ((0, pad_y), (0, pad_x)), mode="edge")
            rows = np.add.reduce([plane[k::fy] for k in range(fy)])
            hu[z] = np.add.reduce([rows[:, k::fx] for k in range(fx)]) / (len(slab) * fy * fx)
        size = volume.shape[0], volume.shape[1], volume.shape[2]
        return cls(hu, (fz, fy, fx), (spacing_mm[0] * fz, spacing_mm[1] * fy, spacing_mm[2] * fx), size)

    @property
    def voxel_ml(self) -> float:
        """Volume of a coarse voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def refine(self, plane: Mask, shape: tuple[int, int]) -> Mask:
        """Repeat one coarse plane to the rows and columns of the fine grid."""
        fine = np.repeat(np.repeat(plane, self.factors[1], axis=0), self.factors[2], axis=1)
        return fine[: shape[0], : shape[1]]

    def refine_smoothly(self, plane: Mask, shape: tuple[int, int]) -> Mask:
        """Draw one coarse plane on the fine grid with a rounded outline instead of blocks."""
        field = ndimage.gaussian_filter(plane.astype(np.float32), _SMOOTH_BLOCKS)
        for axis in (0, 1):
            # Centre of each fine pixel in coarse pixels, and the two it lies between.
            place = (np.arange(shape[axis], dtype=np.float32) + 0.5) / self.factors[axis + 1] - 0.5
            low = np.clip(place.astype(np.int64), 0, max(0, field.shape[axis] - 2))
            share = np.clip(place - low, 0.0, 1.0).reshape((-1, 1) if axis == 0 else (1, -1))
            upper = np.minimum(low + 1, field.shape[axis] - 1)
            field = field.take(low, axis) * (1 - share) + field.take(upper, axis) * share
        smooth: Mask = field > 0.5
        return smooth


def box_around(mask: Mask, margin_mm: float, spacing_mm: tuple[float, float, float]) -> Box:
    """Return the box around a mask with a margin, within the array; the whole array when the mask is empty."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(mask.any(axis=others))
        margin = int(np.ceil(margin_mm / spacing_mm[axis]))
        low, high = (where[0], where[-1] + 1) if where.size else (0, mask.shape[axis])
        box.append(slice(max(0, int(low) - margin), min(mask.shape[axis], int(high) + margin)))
    return box[0], box[1], box[2]


def dilated(mask: Mask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    """Grow a mask by a ball."""
    if not mask.any():
        return mask.copy()
    result: Mask = ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= radius_mm
    return result


def closed(mask: Mask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    """Close a mask with a ball; what lies outside the array counts as background."""
    pads = [(int(np.ceil(radius_mm / spacing)) + 1,) * 2 for spacing in spacing_mm]
    grown = dilated(np.pad(mask, pads), radius_mm, spacing_mm)
    shrunk: Mask = ndimage.distance_transform_edt(grown, sampling=spacing_mm) > radius_mm
    inner = tuple(slice(low, size - high) for (low, high), size in zip(pads, shrunk.shape, strict=True))
    result: Mask = shrunk[inner] | mask
    return result


def in_plane(radius: int = 1) -> Mask:
    """Return a cross in the axial plane as a structuring element (3 x 3), or that dilated `radius` times."""
    cross = ndimage.generate_binary_structure(2, 1)
    return np.asarray(ndimage.iterate_structure(cross, radius) if radius > 1 else cross, dtype=bool)[None]


def without_axial_holes(mask: Mask) -> Mask:
    """Fill what is enclosed within each axial plane."""
    outside = np.pad(~mask, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    labels, _ = ndimage.label(outside, structure=_planar())
    # The frame of padding joins all that is open within a plane.
    filled: Mask = (labels != labels[:, :1, :1])[:, 1:-1, 1:-1]
    return filled


def axial_components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Label the connected parts of each axial plane by themselves."""
    labels, count = ndimage.label(mask, structure=_planar())
    return labels, int(count)


def _planar() -> Mask:
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = ndimage.generate_binary_structure(2, 1)
    return structure
