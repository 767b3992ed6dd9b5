"""Arrange the frames of a series into one volume by their positions in the patient, or say why that cannot be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from radbus_machines.types import Frame, Geometry, Projection

from radbus_dicom.errors import SeriesNotUsable
from radbus_dicom.frames import FrameHeader
from radbus_dicom.radiographs import PROJECTION_MODALITIES, frontal, projection_of
from radbus_dicom.stacking import Stack, stack

__all__ = ["FrameSlot", "VolumePlan", "plan_volume"]

MAX_VOLUME_BYTES = 4 * 1024**3
_GREYSCALE = frozenset({"", "MONOCHROME1", "MONOCHROME2"})
_SPACING_TOLERANCE = 1e-3
_INT16 = np.iinfo(np.int16)
_PROJECTION_DIRECTION = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class FrameSlot:
    """Where in the volume a frame of an instance goes, and how its stored values become modality units."""

    frame_number: int
    index: int
    rescale_slope: float
    rescale_intercept: float


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """A volume before its pixels are decoded; allocate `shape` of `dtype` and fill it with `decoding.decode_into`."""

    headers: tuple[FrameHeader, ...]
    frames: tuple[Frame, ...]
    geometry: Geometry
    dtype: np.dtype[np.int16] | np.dtype[np.float32]
    modality: str
    remarks: tuple[str, ...]
    projection: Projection | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        return len(self.headers), self.headers[0].rows, self.headers[0].columns

    def slots_by_path(self) -> Mapping[Path, tuple[FrameSlot, ...]]:
        """Return, for each instance file, the slots of its frames: one unit of decoding."""
        slots: dict[Path, list[FrameSlot]] = {}
        for index, header in enumerate(self.headers):
            slot = FrameSlot(header.frame_number, index, header.rescale_slope, header.rescale_intercept)
            slots.setdefault(header.path, []).append(slot)
        return {path: tuple(of_path) for path, of_path in slots.items()}


def plan_volume(headers: Sequence[FrameHeader], *, minimum_frames: int = 1) -> VolumePlan:
    """Sort frames along their normal and check that they are one volume; InstanceNumber is never trusted.

    Raises:
        SeriesNotUsable: The frames are not one volume; the text says why.
    """
    remarks: list[str] = []
    _refuse_mixed_subjects(headers)
    kept = _without_localizers(headers, remarks)
    _refuse_repeats(kept)
    modality, projection = kept[0].modality, None
    if modality in PROJECTION_MODALITIES:
        kept = _one_radiograph(kept, remarks)
    _refuse_mixed_matrices(kept)
    if modality in PROJECTION_MODALITIES:
        ordered, (geometry, projection) = kept, _projection(kept[0], remarks)
    else:
        arranged = _stacked(kept, minimum_frames, remarks)
        ordered, geometry = [kept[i] for i in arranged.order], arranged.geometry
    dtype = _dtype(ordered)
    size_bytes = len(ordered) * ordered[0].rows * ordered[0].columns * dtype.itemsize
    if size_bytes > MAX_VOLUME_BYTES:
        raise SeriesNotUsable(f"Expected a volume of at most {MAX_VOLUME_BYTES} bytes; this one has {size_bytes}.")
    frames = tuple(map(_frame, ordered))
    return VolumePlan(tuple(ordered), frames, geometry, dtype, modality, tuple(remarks), projection)


def _without_localizers(headers: Sequence[FrameHeader], remarks: list[str]) -> list[FrameHeader]:
    if not headers:
        raise SeriesNotUsable("Expected images; the series has none.")
    kept = [header for header in headers if "LOCALIZER" not in header.image_type]
    if not kept:
        raise SeriesNotUsable("Expected a scan; the series holds only localizer (scout) images.")
    if len(kept) < len(headers):
        remarks.append(f"{len(headers) - len(kept)} localizer (scout) image(s) in the series were left out.")
    return kept


def _refuse_mixed_subjects(headers: Sequence[FrameHeader]) -> None:
    """Refuse what must never become one result, whoever put it into one series."""
    patients = {header.patient_id for header in headers} - {""}
    if len(patients) > 1:
        raise SeriesNotUsable(f"Expected images of one patient; the series has those of {len(patients)}.")
    studies = {header.study_instance_uid for header in headers} - {""}
    if len(studies) > 1:
        raise SeriesNotUsable(f"Expected images of one study; the series has those of {len(studies)}.")


def _refuse_repeats(headers: Sequence[FrameHeader]) -> None:
    repeated = len(headers) - len({(header.sop_instance_uid, header.frame_number) for header in headers})
    if repeated:
        raise SeriesNotUsable(f"Expected a SOPInstanceUID of its own for each image; {repeated} have another's.")


def _refuse_mixed_matrices(headers: list[FrameHeader]) -> None:
    sizes = Counter((header.rows, header.columns) for header in headers)
    if len(sizes) > 1:
        found = ", ".join(f"{n} of {rows} x {columns}" for (rows, columns), n in sizes.most_common(4))
        raise SeriesNotUsable(f"Expected images of one size; the series mixes {found} (rows x columns).")
    if any(h.samples_per_pixel != 1 or h.photometric_interpretation not in _GREYSCALE for h in headers):
        raise SeriesNotUsable("Expected greyscale images; the series has images in colour.")


def _one_radiograph(headers: list[FrameHeader], remarks: list[str]) -> list[FrameHeader]:
    """Choose the frontal one of several: many archives keep the views of an examination in one series."""
    if len(headers) == 1:
        return headers
    views = [header.radiograph.view_position if header.radiograph else "" for header in headers]
    chosen = frontal(views)
    if chosen is None:
        raise SeriesNotUsable(f"Expected one radiograph; the series has {len(headers)}, which do not form a volume.")
    others = ", ".join(view or "not said" for number, view in enumerate(views) if number != chosen)
    remarks.append(f"Of {len(headers)} images the frontal view was judged; left out, by their view: {others}.")
    return [headers[chosen]]


def _projection(header: FrameHeader, remarks: list[str]) -> tuple[Geometry, Projection]:
    given, at_detector = _positive(header.pixel_spacing_mm), _positive(header.imager_pixel_spacing_mm)
    spacing, projection = projection_of(header.radiograph, given, at_detector, remarks)
    if header.photometric_interpretation == "MONOCHROME1":
        remarks.append("The image is MONOCHROME1: low values are meant to be shown bright.")
    direction = np.array(_PROJECTION_DIRECTION).T
    return Geometry((1.0, *spacing), (0.0, 0.0, 0.0), direction), projection


def _stacked(headers: list[FrameHeader], minimum_frames: int, remarks: list[str]) -> Stack:
    if len(headers) < minimum_frames:
        raise SeriesNotUsable(f"Expected at least {minimum_frames} images; the series has {len(headers)}.")
    positions = _required([h.image_position_patient for h in headers], "position in the patient")
    orientations = _required([h.image_orientation_patient for h in headers], "orientation in the patient")
    spacings = _required([_positive(h.pixel_spacing_mm) for h in headers], "pixel spacing")
    if np.abs(spacings / spacings[0] - 1).max() > _SPACING_TOLERANCE:
        low, high = spacings.min(axis=0), spacings.max(axis=0)
        raise SeriesNotUsable(
            f"Expected one pixel spacing; it goes from {low[0]:.4g} x {low[1]:.4g} to {high[0]:.4g} x {high[1]:.4g} mm."
        )
    references = {header.frame_of_reference_uid for header in headers}
    if len(references) > 1:
        remarks.append(
            f"The images name {len(references)} frames of reference; their positions fit and were taken as one."
        )
    return stack(positions, orientations, spacings[0], headers[0].slice_thickness_mm, remarks)


def _required(values: Sequence[tuple[float, ...] | None], what: str) -> NDArray[np.float64]:
    missing = sum(value is None for value in values)
    if missing:
        raise SeriesNotUsable(f"Expected every image to have a {what}; {missing} of {len(values)} have none.")
    return np.array(values, dtype=np.float64)


def _positive(spacing: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return spacing if spacing is not None and min(spacing) > 0 else None


def _dtype(headers: list[FrameHeader]) -> np.dtype[np.int16] | np.dtype[np.float32]:
    whole = all(h.rescale_slope.is_integer() and h.rescale_intercept.is_integer() for h in headers)
    # Hounsfield units beyond int16 are padding, never tissue, so CT is saturated rather than doubled in size.
    if whole and (headers[0].modality == "CT" or all(map(_fits_int16, headers))):
        return np.dtype(np.int16)
    return np.dtype(np.float32)


def _fits_int16(header: FrameHeader) -> bool:
    half = 2 ** (header.bits_stored - 1)
    stored = (-half, half - 1) if header.is_signed else (0, 2 * half - 1)
    ends = [value * header.rescale_slope + header.rescale_intercept for value in stored]
    return min(ends) >= _INT16.min and max(ends) <= _INT16.max


def _frame(header: FrameHeader) -> Frame:
    x, y, z = header.image_position_patient or (0.0, 0.0, 0.0)
    return Frame(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        image_position_patient=(x, y, z),
        instance_number=header.instance_number,
        frame_number=header.frame_number,
    )
