"""Measure the algorithm against phantoms with known truth and print the table of the README."""

import sys
import time
from typing import Any

import numpy as np
from head_ct_algorithm import judge
from radbus_testing.head_phantom import HEIGHT_MM, LEFT_BLOOD, RIGHT_BLOOD, Blood, Extra, head_phantom

SMALL = Blood((30.0, -20.0, 60.0), (7.0, 7.0, 7.0))
AT_BONE = Blood((52.0, 10.0, 60.0), (9.0, 30.0, 24.0))
ISODENSE = Blood((34.0, 5.0, 64.0), (16.0, 20.0, 14.0), hu=48.0)
CEREBELLAR = Blood((20.0, 45.0, 12.0), (14.0, 14.0, 10.0))


def main() -> None:
    """Print a line for each phantom."""
    sys.stdout.write(
        "| phantom | blood found (true) | Dice | shift (true) | remarks | time |\n|---|---|---|---|---|---|\n"
    )
    _report("no blood, 5 mm")
    for slices in (23, 20, 16):
        _report(f"no blood, {HEIGHT_MM / slices:.0f} mm", slices=slices)
    _report("left, 5 mm", blood=(LEFT_BLOOD,))
    _report("right, 2.5 mm", blood=(RIGHT_BLOOD,), slices=64)
    _report("right, 1.25 mm", blood=(RIGHT_BLOOD,), slices=128)
    _report("1.4 mL, 5 mm", blood=(SMALL,))
    _report("along the vault, 5 mm", blood=(AT_BONE,), shift_left_mm=-6.0)
    _report("48 HU (days old), 5 mm", blood=(ISODENSE,))
    _report("cerebellum, 5 mm", blood=(CEREBELLAR,))
    _report("the same, cut 40 mm above the base", blood=(CEREBELLAR,), missing=12)
    for shift_mm in (-9.0, -4.0, 4.0, 9.0):
        _report(f"left, shift {shift_mm:+.0f} mm", blood=(LEFT_BLOOD,), shift_left_mm=shift_mm)
    for noise_hu in (8.0, 16.0, 30.0):
        _report(f"left, noise {noise_hu:.0f} HU", blood=(LEFT_BLOOD,), noise_hu=noise_hu)
    for extra in Extra:
        _report(f"left, {extra.value}", blood=(LEFT_BLOOD,), extras=frozenset({extra}))


def _report(name: str, *, missing: int = 0, **changes: Any) -> None:
    phantom = head_phantom(**changes)
    start = time.process_time()
    found = judge(phantom.voxels[missing:], phantom.spacing_mm)
    took_s = time.process_time() - start
    voxel_ml = float(np.prod(phantom.spacing_mm)) / 1000
    blood, true = found.labels == 2, phantom.truth.labels[missing:] == 2
    volume = "not judged" if found.lesions is None else f"{blood.sum() * voxel_ml:.1f}"
    both = blood.sum() + true.sum()
    dice = f"{2 * (blood & true).sum() / both:.2f}" if both and found.lesions is not None else ""
    shift = "not judged" if found.shift_left_mm is None else f"{found.shift_left_mm:+.1f}"
    remarks = ", ".join(remark.code for remark in found.remarks)
    sys.stdout.write(
        f"| {name} | {volume} ({phantom.truth.blood_ml:.1f}) mL | {dice} | {shift} "
        f"({phantom.truth.shift_left_mm:+.0f}) mm | {remarks} | {took_s:.1f} s |\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
