"""What the header of a radiograph says of how it is to be read: directions, grey values, magnification, view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from radbus_machines.types import Distances, Projection

from radbus_dicom.tones import Tone, tone_of

# Modalities whose images are projections: a series' images do not stack (PS3.3 C.7.3.1.1.1).
PROJECTION_MODALITIES: Final = frozenset({"CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"})
RADIOGRAPH_KEYWORDS: Final = (
    "EstimatedRadiographicMagnificationFactor",
    "PatientOrientation",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "PixelSpacingCalibrationType",
    "PresentationIntentType",
    "VOILUTFunction",
    "VOILUTSequence",
    "ViewPosition",
    "WindowCenter",
    "WindowWidth",
)
_FRONTAL: Final = ("PA", "AP")
_OPPOSITE: Final = {"L": "R", "R": "L", "A": "P", "P": "A", "F": "H", "H": "F"}
_SAME_SPACING: Final = 1e-3

Spacing = tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class RadiographHeader:
    """Elements that only radiographs have, small and picklable; empty or None where they are absent."""

    towards: tuple[str, str] | None
    view_position: str
    inverted: bool
    linear: bool
    magnification: float | None
    calibrated: bool
    tone: Tone | None


def radiograph_header(ds: Dataset) -> RadiographHeader | None:
    """Read them; None for images that are no projections."""
    if ds.get("Modality") not in PROJECTION_MODALITIES:
        return None
    return RadiographHeader(
        towards=_towards(ds),
        view_position=str(ds.get("ViewPosition") or "").strip().upper(),
        inverted=is_inverted(ds),
        linear=_is_raw(ds) and ds.get("PixelIntensityRelationship") == "LIN",
        magnification=_magnification(ds),
        calibrated=ds.get("PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL"),
        tone=tone_of(ds),
    )


def is_inverted(ds: Dataset) -> bool:
    """Tell whether low values are to be shown bright.

    Of what was not made for the eye, PixelIntensityRelationshipSign says it: 1 where more exposure is a higher value.
    """
    sign = ds.get("PixelIntensityRelationshipSign")
    if _is_raw(ds) and sign in (1, -1):
        return bool(sign == 1)
    return bool(ds.get("PhotometricInterpretation") == "MONOCHROME1")


def opposite(direction: str) -> str:
    """Return the letter of the other direction."""
    return _OPPOSITE[direction]


def frontal(view_positions: Sequence[str]) -> int | None:
    """Choose the first posterior-anterior view, else the first anterior-posterior one; None where there is neither."""
    for wanted in _FRONTAL:
        if wanted in view_positions:
            return view_positions.index(wanted)
    return None


def projection_of(
    header: RadiographHeader | None, given: Spacing, at_detector: Spacing, remarks: list[str]
) -> tuple[tuple[float, float], Projection]:
    """Return the spacing of rows and columns, and how to read the image; what is odd goes to the remarks.

    `given` is PixelSpacing, `at_detector` ImagerPixelSpacing; the two are the same where nothing is corrected
    (PS3.3 10.7.1.3).
    """
    spacing, distances = _spacing(header, given, at_detector)
    if distances is Distances.UNKNOWN:
        remarks.append("The image has no pixel spacing; 1 mm is assumed, so distances and areas have no meaning.")
    elif distances is Distances.DETECTOR and given is None:
        remarks.append("Distances are those at the detector, not in the patient: only ImagerPixelSpacing is given.")
    if header is None:
        return spacing, Projection(distances=distances)
    return spacing, Projection(header.towards, header.inverted, header.linear, distances)


def _spacing(
    header: RadiographHeader | None, given: Spacing, at_detector: Spacing
) -> tuple[tuple[float, float], Distances]:
    spacing = given or at_detector
    if spacing is None:
        return (1.0, 1.0), Distances.UNKNOWN
    corrected = given is not None and (
        (header is not None and header.calibrated) or (at_detector is not None and not _same(given, at_detector))
    )
    if corrected:
        return (spacing[0], spacing[1]), Distances.PATIENT
    if header is not None and header.magnification is not None and at_detector is not None:
        factor = header.magnification
        return (at_detector[0] / factor, at_detector[1] / factor), Distances.PATIENT
    return (spacing[0], spacing[1]), Distances.DETECTOR


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a / b - 1) <= _SAME_SPACING for a, b in zip(one, other, strict=True))


def _is_raw(ds: Dataset) -> bool:
    return bool(ds.get("PresentationIntentType") == "FOR PROCESSING")


def _towards(ds: Dataset) -> tuple[str, str] | None:
    """Return the strongest direction of rows and of columns (PS3.3 C.7.6.1.1.1), if they are two different axes."""
    value = ds.get("PatientOrientation")
    if value is None or isinstance(value, str) or len(value) != 2:
        return None
    along_row, along_column = (str(direction).strip().upper()[:1] for direction in value)
    if (
        along_row not in _OPPOSITE
        or along_column not in _OPPOSITE
        or along_column
        in (
            along_row,
            _OPPOSITE[along_row],
        )
    ):
        return None
    return along_row, along_column


def _magnification(ds: Dataset) -> float | None:
    try:
        factor = float(ds.get("EstimatedRadiographicMagnificationFactor"))
    except (TypeError, ValueError):
        return None
    return factor if math.isfinite(factor) and factor >= 1.0 else None
