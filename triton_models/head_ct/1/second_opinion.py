"""Compare blood and shift with a second, plainer method, on phantoms and on folders of DICOM, and print a table.

The second opinion shares no code with the first. Slice by slice: the inside of the head is what a ring of bone
(above 300 HU) encloses, without its outer 4 mm; blood is what lies there between 50 and 90 HU after a median of 5 x 5,
in parts of 0.5 mL or more. The shift is how far the middle of the fluid (0 to 15 HU) of the inner half of the head
lies from halfway between the inner tables, in the slice with the most of it. It judges all: contrast, metal, noise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from head_ct_algorithm import judge
from numpy.typing import NDArray
from radbus_dicom.decoding import decode_into
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import plan_volume
from radbus_testing.head_phantom import LEFT_BLOOD, RIGHT_BLOOD, Blood, Extra, head_phantom
from scipy import ndimage

_BONE_HU: Final = 300
_BLOOD_HU, _FLUID_HU = (50, 90), (0, 15)
_RIM_MM, _SMALLEST_ML = 4.0, 0.5
_INNER = 0.5  # of the head's width and depth
_LEAST_FLUID_MM2 = 60.0
_LESION: Final = 2

Voxels = NDArray[np.int16]
Spacing = tuple[float, float, float]


def main() -> None:
    """Print a line for each phantom and for each folder that is named."""
    sys.stdout.write(
        "| series | blood: head_ct | second | true | Dice of both | shift: head_ct | second | true |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    at_bone = Blood((52.0, 10.0, 60.0), (9.0, 30.0, 24.0))
    _phantom("no blood, 5 mm")
    _phantom("left, 5 mm", blood=(LEFT_BLOOD,))
    _phantom("right, 2.5 mm", blood=(RIGHT_BLOOD,), slices=64)
    _phantom("along the vault, 5 mm", blood=(at_bone,), shift_left_mm=-6.0)
    _phantom("left, shift -9 mm", blood=(LEFT_BLOOD,), shift_left_mm=-9.0)
    _phantom("left, shift +4 mm", blood=(LEFT_BLOOD,), shift_left_mm=4.0)
    _phantom("left, noise 8 HU", blood=(LEFT_BLOOD,), noise_hu=8.0)
    _phantom("left, contrast", blood=(LEFT_BLOOD,), extras=frozenset({Extra.CONTRAST}))
    for folder in map(Path, sys.argv[1:]):
        _report(folder.name, *_loaded(folder))


def second_opinion(voxels: Voxels, spacing_mm: Spacing) -> tuple[NDArray[np.bool_], float | None]:
    """Return where blood is, and the shift to the patient's left in mm, of an axial head (head first, supine)."""
    inside = np.zeros(voxels.shape, np.bool_)
    rim = round(_RIM_MM / spacing_mm[1])
    for k, plane in enumerate(voxels):
        bone = plane > _BONE_HU
        enclosed = ndimage.binary_fill_holes(bone) & ~bone
        inside[k] = ndimage.binary_erosion(enclosed, iterations=rim)
    smooth = ndimage.median_filter(voxels, (1, 5, 5))
    parts, count = ndimage.label(inside & (smooth >= _BLOOD_HU[0]) & (smooth <= _BLOOD_HU[1]))
    sizes_ml = np.bincount(parts.ravel(), minlength=count + 1) * float(np.prod(spacing_mm)) / 1000
    sizes_ml[0] = 0
    return (sizes_ml >= _SMALLEST_ML)[parts], _shift_mm(smooth, inside, spacing_mm)


def _shift_mm(smooth: Voxels, inside: NDArray[np.bool_], spacing_mm: Spacing) -> float | None:
    best, shift = _LEAST_FLUID_MM2, None
    for plane, within in zip(smooth, inside, strict=True):
        rows, columns = (np.flatnonzero(within.any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            continue
        middle = (columns[0] + columns[-1]) / 2
        inner = np.zeros_like(within)
        inner[_inner(rows), _inner(columns)] = True
        fluid = inner & within & (plane >= _FLUID_HU[0]) & (plane <= _FLUID_HU[1])
        area = float(fluid.sum()) * spacing_mm[1] * spacing_mm[2]
        if area > best:
            best, shift = area, (float(np.argwhere(fluid)[:, 1].mean()) - middle) * spacing_mm[2]
    return shift


def _inner(lines: NDArray[np.intp]) -> slice:
    reach = _INNER * (lines[-1] - lines[0]) / 2
    middle = (lines[0] + lines[-1]) / 2
    return slice(round(middle - reach), round(middle + reach) + 1)


def _loaded(folder: Path) -> tuple[Voxels, Spacing]:
    plan = plan_volume([header for path in sorted(folder.iterdir()) for header in read_frame_headers(path)])
    voxels = np.zeros(plan.shape, np.int16)
    for path, slots in plan.slots_by_path().items():
        decode_into(path, slots, voxels)
    return voxels, plan.geometry.spacing_mm


def _phantom(name: str, **changes: Any) -> None:
    phantom = head_phantom(**changes)
    true = f"{phantom.truth.blood_ml:.1f} mL", f"{phantom.truth.shift_left_mm:+.0f} mm"
    _report(f"phantom, {name}", phantom.voxels, phantom.spacing_mm, true)


def _report(name: str, voxels: Voxels, spacing_mm: Spacing, true: tuple[str, str] = ("", "")) -> None:
    found = judge(voxels, spacing_mm)
    blood, shift_mm = second_opinion(voxels, spacing_mm)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    first = found.labels == _LESION
    both = int(first.sum() + blood.sum())
    judged = found.lesions is not None
    ml = f"{first.sum() * voxel_ml:.1f} mL" if judged else "not judged"
    dice = f"{2 * int((first & blood).sum()) / both:.2f}" if judged and both else ""
    sys.stdout.write(
        f"| {name} | {ml} | {blood.sum() * voxel_ml:.1f} mL | "
        f"{true[0]} | {dice} | {_mm(found.shift_left_mm)} | {_mm(shift_mm)} | {true[1]} |\n"
    )
    sys.stdout.flush()


def _mm(value: float | None) -> str:
    return "not judged" if value is None else f"{value:+.1f} mm"


if __name__ == "__main__":
    main()
