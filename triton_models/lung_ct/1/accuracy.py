"""Measure the segmentation against phantoms with known truth and print the table of the README."""

import sys
import time

import numpy as np
from lung_ct_algorithm import segment
from radbus_testing.phantom import ORIENTATIONS, ChestPhantom, chest_phantom
from radbus_testing.phantom_anatomy import HILAR_MASS, PLEURAL_MASS


def main() -> None:
    """Print a line for each phantom."""
    sys.stdout.write("| phantom | right volume | left volume | LAA-950 (true) | time |\n|---|---|---|---|---|\n")
    for orientation in ORIENTATIONS:
        _report(f"{orientation}, 5 mm", chest_phantom(slices=60, rows=256, orientation=orientation))
    for slices, rows in ((20, 256), (30, 512), (120, 512), (400, 256)):
        _report(f"{300 / slices:g} mm, {rows} rows", chest_phantom(slices=slices, rows=rows))
    for fraction in (0.0, 0.4, 0.65):
        _report(f"emphysema {100 * fraction:g} %", chest_phantom(slices=60, rows=256, emphysema_fraction=fraction))
    _report("cut at the sides", chest_phantom(slices=60, rows=256, spacing_mm=(5.0, 1.0, 1.0)))
    for name, mass in (("pleura", PLEURAL_MASS), ("hilum", HILAR_MASS)):
        _report(f"40 mm mass, {name}", chest_phantom(slices=60, rows=256, lesion=(mass,)))
    _report("contrast medium", chest_phantom(slices=60, rows=256, contrast=True))


def _report(name: str, phantom: ChestPhantom) -> None:
    start = time.perf_counter()
    labels = segment(phantom.voxels, phantom.spacing_mm, phantom.direction).labels
    took_s = time.perf_counter() - start
    voxel_ml = float(np.prod(phantom.spacing_mm)) / 1000
    true_ml = phantom.truth.right_lung_volume_ml, phantom.truth.left_lung_volume_ml
    errors = [100 * ((labels == side).sum() * voxel_ml / ml - 1) for side, ml in zip((1, 2), true_ml, strict=True)]
    index = 100 * float((phantom.voxels[(labels == 1) | (labels == 2)] < -950).mean())
    true_index = phantom.truth.emphysema_index_percent
    sys.stdout.write(
        f"| {name} | {errors[0]:+.2f} % | {errors[1]:+.2f} % | {index:.2f} ({true_index:.2f}) | {took_s:.1f} s |\n"
    )


if __name__ == "__main__":
    main()
