"""Read what each frame of an instance says of itself: position, spacing, rescale; single-frame and enhanced alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from radbus_dicom.errors import SeriesNotUsable, foreign_errors_as
from radbus_dicom.opening import read_header_dataset
from radbus_dicom.radiographs import RADIOGRAPH_KEYWORDS, RadiographHeader, radiograph_header

_KEYWORDS = [
    "BitsStored",
    "Columns",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "ImagerPixelSpacing",
    "InstanceNumber",
    "Modality",
    "NumberOfFrames",
    "PatientID",
    "PerFrameFunctionalGroupsSequence",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SharedFunctionalGroupsSequence",
    "SliceThickness",
    "StudyInstanceUID",
    *RADIOGRAPH_KEYWORDS,
]
MAX_FRAMES = 20_000


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """One frame of an instance, small and picklable; absent elements are None (PS3.3 C.7.6.2, C.7.6.16)."""

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    frame_number: int
    instance_number: int | None
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_stored: int
    is_signed: bool
    rescale_slope: float
    rescale_intercept: float
    image_position_patient: tuple[float, ...] | None
    image_orientation_patient: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    imager_pixel_spacing_mm: tuple[float, ...] | None
    slice_thickness_mm: float | None
    frame_of_reference_uid: str | None
    study_instance_uid: str = ""
    patient_id: str = field(default="", repr=False)
    radiograph: RadiographHeader | None = None


def rescalings(ds: Dataset) -> set[tuple[float, float]]:
    """Return slope and intercept of the frames of an instance, each pair once; 1 and 0 where it has none."""
    shared = _first_item(ds, "SharedFunctionalGroupsSequence")
    per_frame = ds.get("PerFrameFunctionalGroupsSequence") or [None]
    return {_rescaling(_Groups(ds, shared, group)) for group in per_frame}


def read_frame_headers(path: Path) -> list[FrameHeader]:
    """Return the headers of all frames of the instance in the file `path`, in its own order.

    Raises:
        SeriesNotUsable: The file cannot be read, or has no pixel matrix.
    """
    with foreign_errors_as(SeriesNotUsable):
        ds = read_header_dataset(path, _KEYWORDS)
        if not ds.get("Rows") or not ds.get("Columns"):
            raise SeriesNotUsable("Expected images; an instance of this series has no rows or columns.")
        number_of_frames = int(ds.get("NumberOfFrames") or 1)
        if number_of_frames > MAX_FRAMES:
            raise SeriesNotUsable(f"Expected at most {MAX_FRAMES} frames in an instance.")
        shared = _first_item(ds, "SharedFunctionalGroupsSequence")
        per_frame = ds.get("PerFrameFunctionalGroupsSequence") or []
        if per_frame and len(per_frame) != number_of_frames:
            raise SeriesNotUsable("Expected as many per-frame functional groups as there are frames.")
        groups = list(per_frame) or [None] * number_of_frames
        return [_frame_header(path, ds, _Groups(ds, shared, group), index) for index, group in enumerate(groups)]


class _Groups:
    """An attribute's place: the frame's functional group, the shared one, or the data set itself."""

    def __init__(self, ds: Dataset, shared: Dataset | None, per_frame: Dataset | None) -> None:
        self._ds = ds
        self._groups = [group for group in (per_frame, shared) if group is not None]

    def numbers(self, sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return `count` finite numbers, None where they are not all there."""
        value = self._value(sequence, keyword)
        values = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
        try:
            numbers = tuple(float(v) for v in values)
        except (TypeError, ValueError):
            return None
        return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None

    def _value(self, sequence: str, keyword: str) -> object:
        for group in self._groups:
            item = _first_item(group, sequence)
            if item is not None and keyword in item:
                return item.get(keyword)
        return self._ds.get(keyword)


def _frame_header(path: Path, ds: Dataset, groups: _Groups, index: int) -> FrameHeader:
    slope, intercept = _rescaling(groups)
    thickness = groups.numbers("PixelMeasuresSequence", "SliceThickness", 1)
    instance_number = ds.get("InstanceNumber")
    return FrameHeader(
        path=path,
        sop_instance_uid=str(ds.get("SOPInstanceUID") or ""),
        sop_class_uid=str(ds.get("SOPClassUID") or ""),
        frame_number=index + 1,
        instance_number=int(instance_number) if instance_number not in (None, "") else None,
        modality=str(ds.get("Modality") or ""),
        image_type=tuple(str(v) for v in ds.get("ImageType") or ()),
        rows=int(ds.Rows),
        columns=int(ds.Columns),
        samples_per_pixel=int(ds.get("SamplesPerPixel") or 1),
        photometric_interpretation=str(ds.get("PhotometricInterpretation") or ""),
        bits_stored=int(ds.get("BitsStored") or 16),
        is_signed=ds.get("PixelRepresentation") == 1,
        rescale_slope=slope,
        rescale_intercept=intercept,
        image_position_patient=groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        image_orientation_patient=groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        pixel_spacing_mm=groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        imager_pixel_spacing_mm=groups.numbers("", "ImagerPixelSpacing", 2),
        slice_thickness_mm=thickness[0] if thickness else None,
        frame_of_reference_uid=str(ds.get("FrameOfReferenceUID") or "") or None,
        study_instance_uid=str(ds.get("StudyInstanceUID") or ""),
        patient_id=str(ds.get("PatientID") or "").strip(),
        radiograph=radiograph_header(ds),
    )


def _rescaling(groups: _Groups) -> tuple[float, float]:
    slope = groups.numbers("PixelValueTransformationSequence", "RescaleSlope", 1)
    intercept = groups.numbers("PixelValueTransformationSequence", "RescaleIntercept", 1)
    return slope[0] if slope and slope[0] != 0 else 1.0, intercept[0] if intercept else 0.0


def _first_item(ds: Dataset, sequence: str) -> Dataset | None:
    items = ds.get(sequence) if sequence else None
    return items[0] if items else None
