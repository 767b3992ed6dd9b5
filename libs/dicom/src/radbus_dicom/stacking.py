"""The arithmetic of stacking planes in space (PS3.3 C.7.6.2.1.1): order, spacing, direction, what breaks a stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from radbus_machines.types import Geometry

from radbus_dicom.errors import SeriesNotUsable

# Writers round direction cosines to six digits or fewer; 0.003 is 0.2 degrees.
_ORIENTATION_TOLERANCE = 0.003
_SAME_POSITION_MM = 0.01
# A missing frame doubles a gap; scanners that round table positions are off by 0.1 mm. Between the two lies a fifth of
# the spacing, but not less than 0.2 mm, so that thin slices with rounded positions stay usable.
_GAP_TOLERANCE_RELATIVE = 0.2
_GAP_TOLERANCE_MM = 0.2
_REMARK_MM = 0.01
_SIDEWAYS_LIMIT_MM = 2.0
_TILT_REMARK_DEGREES = 0.5
_DEFAULT_THICKNESS_MM = 1.0


@dataclass(frozen=True, slots=True)
class Stack:
    """The order of the given planes along their normal, and where the volume they make lies."""

    order: tuple[int, ...]
    geometry: Geometry


def stack(
    positions: NDArray[np.float64],
    orientations: NDArray[np.float64],
    pixel_spacing_mm: NDArray[np.float64],
    slice_thickness_mm: float | None,
    remarks: list[str],
) -> Stack:
    """Stack planes at `positions` [n, 3] with `orientations` [n, 6] along growing position on their common normal.

    Raises:
        SeriesNotUsable: Orientations are mixed, positions repeat, frames are missing or shifted sideways.
    """
    along_columns, along_rows = _axes(orientations)
    normal = np.cross(along_columns, along_rows)
    distances = positions @ normal
    order = np.argsort(distances, kind="stable")
    ordered = positions[order]
    if len(order) == 1:
        thickness = slice_thickness_mm if slice_thickness_mm and slice_thickness_mm > 0 else _DEFAULT_THICKNESS_MM
        along_frames, spacing_mm = normal, thickness
    else:
        _check_gaps(np.diff(distances[order]), remarks)
        along_frames, spacing_mm = _stacking_axis(ordered, normal, remarks)
    direction = np.stack([along_frames, along_rows, along_columns], axis=1)
    spacing = (float(spacing_mm), float(pixel_spacing_mm[0]), float(pixel_spacing_mm[1]))
    x, y, z = (float(v) for v in ordered[0])
    return Stack(tuple(int(i) for i in order), Geometry(spacing, (x, y, z), direction))


def _axes(orientations: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vectors along growing column index and along growing row index."""
    different = np.abs(orientations - np.median(orientations, axis=0)).max(axis=1) > _ORIENTATION_TOLERANCE
    if different.any():
        raise SeriesNotUsable(
            f"Expected images of one orientation; {int(different.sum())} of {len(orientations)} lie differently."
        )
    mean = orientations.mean(axis=0)
    along_columns, along_rows = mean[:3], mean[3:]
    lengths = np.linalg.norm(along_columns), np.linalg.norm(along_rows)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(along_columns @ along_rows) > 0.01:
        raise SeriesNotUsable("Expected an orientation of two perpendicular unit vectors (ImageOrientationPatient).")
    along_columns = along_columns / lengths[0]
    along_rows = along_rows - (along_rows @ along_columns) * along_columns
    return along_columns, along_rows / np.linalg.norm(along_rows)


def _check_gaps(gaps_mm: NDArray[np.float64], remarks: list[str]) -> None:
    repeated = int((gaps_mm < _SAME_POSITION_MM).sum())
    if repeated:
        raise SeriesNotUsable(
            f"Expected one image at each position; {repeated} lie where another is (several phases, echoes or copies)."
        )
    median = float(np.median(gaps_mm))
    off = np.abs(gaps_mm - median)
    wrong = (off > _GAP_TOLERANCE_RELATIVE * median) & (off > _GAP_TOLERANCE_MM)
    if wrong.any():
        worst = float(gaps_mm[np.argmax(off)])
        raise SeriesNotUsable(
            f"Expected evenly spaced images, {median:.4g} mm apart; {int(wrong.sum())} of {len(gaps_mm)} gaps differ "
            f"(worst {worst:.4g} mm), so images are missing or were taken with mixed spacing."
        )
    if off.max() > _REMARK_MM:
        remarks.append(f"The distance between images varies from {gaps_mm.min():.4g} to {gaps_mm.max():.4g} mm.")


def _stacking_axis(
    ordered: NDArray[np.float64], normal: NDArray[np.float64], remarks: list[str]
) -> tuple[NDArray[np.float64], float]:
    whole = ordered[-1] - ordered[0]
    length_mm = float(np.linalg.norm(whole))
    axis = whole / length_mm
    steps = np.arange(len(ordered))[:, None] / (len(ordered) - 1)
    off_line = ordered - (ordered[0] + ((ordered - ordered[0]) @ axis)[:, None] * axis)
    if np.linalg.norm(off_line, axis=1).max() > _SIDEWAYS_LIMIT_MM:
        raise SeriesNotUsable("Expected images stacked along a straight line; they are shifted sideways.")
    uneven_mm = np.linalg.norm(ordered - (ordered[0] + steps * whole), axis=1).max()
    if uneven_mm > length_mm / (len(ordered) - 1) / 2:
        remarks.append(f"Images lie up to {uneven_mm:.4g} mm from where even spacing would put them.")
    tilt_degrees = float(np.degrees(np.arccos(np.clip(axis @ normal, -1, 1))))
    if tilt_degrees > _TILT_REMARK_DEGREES:
        remarks.append(f"The images are stacked {tilt_degrees:.1f} degrees off their normal (gantry tilt).")
    else:
        axis = normal if tilt_degrees < 0.01 else axis
    return axis, length_mm / (len(ordered) - 1)
