"""Measure the segmentation on phantoms with disease that it was not made for, and print the table of docs/models.md.

Volumes are compared with the lung as a radiologist would outline it: masses, consolidation and bullae belong to it,
fluid and air in the pleural space do not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
from lung_ct_algorithm import segment
from numpy.typing import NDArray
from radbus_testing.phantom import ChestPhantom, chest_phantom
from radbus_testing.phantom_anatomy import Ball

RIGHT, LEFT = 1, 2
_SLICES, _ROWS = 60, 160
_MASSES = {
    "60 mm mass, lateral wall": Ball((-130.0, 40.0, 150.0), 30.0),
    "56 mm mass, posterior wall": Ball((-75.0, 75.0, 150.0), 28.0),
    "50 mm mass, anterior wall": Ball((-60.0, -70.0, 170.0), 25.0),
    "56 mm mass, mediastinum": Ball((-50.0, 10.0, 200.0), 28.0),
    "60 mm mass, diaphragm": Ball((-85.0, 0.0, 95.0), 30.0),
}

Voxels = NDArray[np.int16]
Mask = NDArray[np.bool_]


def main() -> None:
    """Print a line for each case."""
    sys.stdout.write(
        "| phantom | right (true) | Dice | left (true) | Dice | remarks | time |\n|---|---|---|---|---|---|---|\n"
    )
    for name, ball in _MASSES.items():
        phantom = chest_phantom(slices=_SLICES, rows=_ROWS, lesion=(ball,))
        _report(name, phantom, phantom.voxels, phantom.truth.labels)
    phantom = chest_phantom(slices=_SLICES, rows=_ROWS)
    for name, voxels, truth in _diseased(phantom):
        _report(name, phantom, voxels, truth)


def _diseased(phantom: ChestPhantom) -> Iterator[tuple[str, Voxels, NDArray[np.uint8]]]:
    """Give HU and truth of diseases that are painted over the lungs of one phantom."""
    rng = np.random.default_rng(7)
    labels = phantom.truth.labels
    right, left = labels == RIGHT, labels == LEFT
    z, y, x = _coordinates(phantom)

    def painted(where: Mask, hu: float, noise_hu: float = 8.0) -> Voxels:
        voxels = phantom.voxels.copy()
        voxels[where] = np.clip(hu + noise_hu * rng.standard_normal(int(where.sum())), -1024, 3071)
        return voxels

    def without(where: Mask) -> NDArray[np.uint8]:
        return np.where(where, 0, labels).astype(np.uint8)

    fluid = right & (y > 70.0 - 0.45 * (180.0 - z)) & (y > 20.0) & (z < 190.0)
    yield "effusion, right", painted(fluid, 8.0), without(fluid)
    lower = left & (z < 130.0)
    yield "lower lobe solid, left", painted(lower, 35.0), labels
    bullae = (right & _ball(x, y, z, (-85, -20, 225), 45.0)) | (left & _ball(x, y, z, (85, 10, 215), 40.0))
    yield "bullae of 80 and 90 mm", painted(bullae, -998.0), labels
    yield "one lung (left filled)", painted(left, 25.0), without(left)
    air = left & (y < -40.0)
    yield "pneumothorax, left", painted(air, -1000.0), without(air)
    for noise_hu in (25.0, 50.0, 90.0):
        noise = noise_hu * rng.standard_normal(labels.shape, np.float32)
        yield f"noise {noise_hu:.0f} HU", np.clip(phantom.voxels + noise, -1024, 3071).astype(np.int16), labels


def _coordinates(phantom: ChestPhantom) -> list[NDArray[np.float64]]:
    """Return z, y and x of the voxels of a phantom that lies on its back, as arrays that broadcast."""
    axes = (
        phantom.origin_mm[2 - axis] + np.arange(phantom.voxels.shape[axis]) * phantom.spacing_mm[axis]
        for axis in range(3)
    )
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def _ball(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64], at: tuple[int, int, int], r: float
) -> Mask:
    return np.asarray((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < r**2)


def _report(name: str, phantom: ChestPhantom, voxels: Voxels, truth: NDArray[np.uint8]) -> None:
    start = time.process_time()
    result = segment(voxels, phantom.spacing_mm, phantom.direction)
    took_s = time.process_time() - start
    voxel_ml = float(np.prod(phantom.spacing_mm)) / 1000
    cells = []
    for side in (RIGHT, LEFT):
        found, true = result.labels == side, truth == side
        dice = 2 * (found & true).sum() / max(found.sum() + true.sum(), 1)
        cells.append(f"{found.sum() * voxel_ml:.0f} ({true.sum() * voxel_ml:.0f}) mL | {dice:.3f}")
    remarks = ", ".join(remark.code for remark in result.remarks if remark.code != "thick_slices")
    sys.stdout.write(f"| {name} | {cells[0]} | {cells[1]} | {remarks} | {took_s:.1f} s |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
