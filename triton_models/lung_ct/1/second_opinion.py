"""Compare the segmentation with a second, plainer one on folders of DICOM and on phantoms, and print a table.

The second opinion shares no code and no idea with the first but that lungs are air: every voxel of the full resolution
below -500 HU, without the air outside the patient; what is left of the trachea is taken off by opening slice by slice,
holes are filled slice by slice, and the middle of the body parts right from left. It knows nothing of lesions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lung_ct_algorithm import segment
from numpy.typing import NDArray
from radbus_dicom.decoding import decode_into
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import plan_volume
from radbus_testing.phantom import chest_phantom
from radbus_testing.phantom_anatomy import HILAR_MASS
from scipy import ndimage

AIR_HU = -500
_SMALLEST_ML = 30.0
_AIRWAY_MM, _CLOSING_MM = 8.0, 6.0
RIGHT, LEFT = 1, 2


def main() -> None:
    """Print a line for each phantom and for each folder that is named."""
    sys.stdout.write(
        "| series | side | lung_ct | second opinion | difference | Dice of both | lung_ct, truth | second, truth |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    for name, phantom in _phantoms():
        _report(name, phantom.voxels, phantom.spacing_mm, phantom.direction, truth=phantom.truth.labels)
    for folder in map(Path, sys.argv[1:]):
        _report(folder.name, *_loaded(folder))


def second_opinion(
    voxels: NDArray[np.int16], spacing_mm: tuple[float, float, float], direction: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Label the right lung (1) and the left lung (2) of an axial volume."""
    air = voxels < AIR_HU
    inside = np.zeros_like(air)
    for k, plane in enumerate(air):
        parts, _ = ndimage.label(np.pad(plane, 1, constant_values=True))
        inside[k] = plane & (parts[1:-1, 1:-1] != parts[0, 0])
    opening, closing = (_disc(radius, spacing_mm) for radius in (_AIRWAY_MM, _CLOSING_MM))
    for k, plane in enumerate(inside):
        kept = ndimage.binary_propagation(ndimage.binary_opening(plane, opening), mask=plane)
        inside[k] = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(kept, 20), closing)[20:-20, 20:-20])
    parts, count = ndimage.label(inside)
    sizes_ml = np.bincount(parts.ravel(), minlength=count + 1) * float(np.prod(spacing_mm)) / 1000
    sizes_ml[0] = 0
    lungs = (sizes_ml >= _SMALLEST_ML)[parts]
    body = np.argwhere(voxels[:: max(1, len(voxels) // 20)] > AIR_HU)
    steps = direction[0] * spacing_mm
    middle = float(np.median(body[:, 1] * steps[1] + body[:, 2] * steps[2]))
    rows, columns = np.ogrid[: voxels.shape[1], : voxels.shape[2]]
    x = rows * steps[1] + columns * steps[2]
    return np.where(lungs, np.where(x < middle, RIGHT, LEFT), 0).astype(np.uint8)


def _disc(radius_mm: float, spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    reach = [int(radius_mm / spacing) for spacing in spacing_mm[1:]]
    rows, columns = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    return np.asarray((rows * spacing_mm[1]) ** 2 + (columns * spacing_mm[2]) ** 2 <= radius_mm**2)


def _phantoms() -> Iterator[tuple[str, Any]]:
    yield "phantom, 5 mm", chest_phantom(slices=60, rows=256)
    yield "phantom, 5 mm, HFDR", chest_phantom(slices=60, rows=256, orientation="HFDR")
    yield "phantom, emphysema 40 %", chest_phantom(slices=60, rows=256, emphysema_fraction=0.4)
    yield "phantom, 40 mm mass, hilum", chest_phantom(slices=60, rows=256, lesion=(HILAR_MASS,))


def _loaded(folder: Path) -> tuple[NDArray[np.int16], tuple[float, float, float], NDArray[np.float64]]:
    plan = plan_volume([header for path in sorted(folder.iterdir()) for header in read_frame_headers(path)])
    voxels = np.zeros(plan.shape, np.int16)
    for path, slots in plan.slots_by_path().items():
        decode_into(path, slots, voxels)
    return voxels, plan.geometry.spacing_mm, plan.geometry.direction


def _report(
    name: str,
    voxels: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    direction: NDArray[np.float64],
    truth: NDArray[np.uint8] | None = None,
) -> None:
    first = segment(voxels, spacing_mm, direction).labels
    second = second_opinion(voxels, spacing_mm, direction)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    for side, words in ((RIGHT, "right"), (LEFT, "left")):
        one, other = first == side, second == side
        ml = one.sum() * voxel_ml, other.sum() * voxel_ml
        with_truth = ["", ""] if truth is None else [f"{_dice(each, truth == side):.3f}" for each in (one, other)]
        sys.stdout.write(
            f"| {name} | {words} | {ml[0]:.0f} mL | {ml[1]:.0f} mL | {100 * (ml[0] / ml[1] - 1):+.1f} % | "
            f"{_dice(one, other):.3f} | {with_truth[0]} | {with_truth[1]} |\n"
        )
        sys.stdout.flush()


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


if __name__ == "__main__":
    main()
