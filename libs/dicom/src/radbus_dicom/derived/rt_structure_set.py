"""Make an RT Structure Set (PS3.3 A.19) from label maps: closed planar contours on the source's own frames.

UIDs of the source are repeated as they are, whatever they look like: by them a client finds its images again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage
from radbus_machines.types import Frame, Geometry, LabelMap, Segment

from radbus_dicom.derived.contours import Polygon, trace
from radbus_dicom.derived.labels import check_labels
from radbus_dicom.derived.provenance import MANUFACTURER, Provenance
from radbus_dicom.derived.sites import is_anatomy
from radbus_dicom.derived.stamping import stamp
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.identity import derived_uid, series_uid
from radbus_dicom.quiet import silence_pydicom

silence_pydicom()

_DETACHED_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"  # retired, and what PS3.3 C.8.8.5 writers still name here
_CONTOUR_DATA: BaseTag = Tag("ContourData")
_LONG_STRING_CHARACTERS, _SHORT_STRING_CHARACTERS, _DECIMAL_CHARACTERS = 64, 16, 16
_DECIMALS = 4  # of a millimetre


@dataclass(frozen=True, slots=True)
class Structures:
    """What is to be drawn: label maps of one volume, with its frames in the labels' order and its geometry.

    `all_organs` calls each structure an organ, as clients of the inferencing API expect; else lesions are none.
    """

    label_maps: Sequence[LabelMap]
    frames: Sequence[Frame]
    geometry: Geometry
    all_organs: bool = False


def make_rt_structure_set(structures: Structures, *, source: Dataset, provenance: Provenance, model_id: str) -> Dataset:
    """Return the RT Structure Set of all segments, in their order; to be written as implicit VR little endian.

    `source` is the header of the first frame's instance; `model_id` goes into SoftwareVersions as it is.

    Raises:
        OutputNotValid: The labels do not match the frames or the segments, there is no segment at all, or positions
            are too large to be written.
    """
    for label_map in structures.label_maps:
        check_labels(label_map, frames=len(structures.frames))
    rois = [(label_map, segment) for label_map in structures.label_maps for segment in label_map.segments]
    if not rois:
        raise OutputNotValid("expected a segment at least: a structure set without any is not valid")
    ds = _head(source, provenance, model_id)
    _add_references(ds, source, structures.frames)
    draw = _Draughtsman(structures.frames, structures.geometry)
    ds.StructureSetROISequence = [_roi(n, segment, ds.FrameOfReferenceUID) for n, (_, segment) in _numbered(rois)]
    ds.ROIContourSequence = [draw.roi(n, label_map, segment) for n, (label_map, segment) in _numbered(rois)]
    ds.RTROIObservationsSequence = [
        _observation(n, organ=structures.all_organs or is_anatomy(segment)) for n, (_, segment) in _numbered(rois)
    ]
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


def _numbered(rois: list[tuple[LabelMap, Segment]]) -> Iterator[tuple[int, tuple[LabelMap, Segment]]]:
    return enumerate(rois, start=1)


def _head(source: Dataset, provenance: Provenance, model_id: str) -> Dataset:
    ds = Dataset()
    name = f"rtstruct/{provenance.of_series(source.SeriesInstanceUID)}"
    ds.SOPClassUID, ds.SOPInstanceUID = RTStructureSetStorage, derived_uid(provenance.job_id, name)
    ds.SeriesInstanceUID = series_uid(provenance.job_id, name)
    ds.Modality, ds.SeriesNumber, ds.OperatorsName = "RTSTRUCT", None, ""
    ds.Manufacturer, ds.ManufacturerModelName = MANUFACTURER, provenance.machine
    ds.SoftwareVersions = model_id[:_LONG_STRING_CHARACTERS]
    ds.FrameOfReferenceUID = str(source.get("FrameOfReferenceUID") or derived_uid(provenance.job_id, "frame"))
    ds.PositionReferenceIndicator = ""
    ds.StructureSetLabel = provenance.machine[:_SHORT_STRING_CHARACTERS]
    ds.StructureSetName = f"{provenance.machine} {provenance.machine_version}"[:_LONG_STRING_CHARACTERS]
    ds.StructureSetDescription = ""
    ds.StructureSetDate = ds.StructureSetTime = ""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return stamp(ds, title=f"{provenance.use_case} {provenance.machine}", source=source, provenance=provenance)


def _add_references(ds: Dataset, source: Dataset, frames: Sequence[Frame]) -> None:
    series = Dataset()
    series.SeriesInstanceUID = str(source.SeriesInstanceUID)
    series.ContourImageSequence = [_image(of_instance, of=of_instance) for of_instance in _by_instance(frames).values()]
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _DETACHED_STUDY_MANAGEMENT, ds.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    reference = Dataset()
    # One, also where instances name several: the images are named one by one.
    reference.FrameOfReferenceUID = ds.FrameOfReferenceUID
    reference.RTReferencedStudySequence = [study]
    ds.ReferencedFrameOfReferenceSequence = [reference]


def _by_instance(frames: Sequence[Frame]) -> dict[str, list[Frame]]:
    by_instance: dict[str, list[Frame]] = {}
    for frame in frames:
        by_instance.setdefault(frame.sop_instance_uid, []).append(frame)
    return by_instance


def _image(frames: Sequence[Frame], *, of: Sequence[Frame]) -> Dataset:
    """Name an instance, and which frames are meant where there are several."""
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = of[0].sop_class_uid, of[0].sop_instance_uid
    if len(of) > 1:
        image.ReferencedFrameNumber = sorted(frame.frame_number for frame in frames)
    return image


def _roi(number: int, segment: Segment, frame_of_reference_uid: str) -> Dataset:
    roi = Dataset()
    roi.ROINumber, roi.ReferencedFrameOfReferenceUID = number, frame_of_reference_uid
    roi.ROIName, roi.ROIGenerationAlgorithm = segment.name[:_LONG_STRING_CHARACTERS], "AUTOMATIC"
    return roi


def _observation(number: int, *, organ: bool) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber, observation.ReferencedROINumber = number - 1, number
    # Type 2: no defined term (PS3.3 C.8.8.8.1) is of a lesion that nobody plans to treat; nobody has interpreted it.
    observation.RTROIInterpretedType, observation.ROIInterpreter = "ORGAN" if organ else "", ""
    return observation


class _Draughtsman:
    """Draws segments on the frames of one volume."""

    def __init__(self, frames: Sequence[Frame], geometry: Geometry) -> None:
        self._frames = frames
        self._by_instance = _by_instance(frames)
        # Millimetres along growing row and column index; the frames' own positions tell the rest, also when tilted.
        self._steps_mm = geometry.direction[:, 1:] * geometry.spacing_mm[1:]

    def roi(self, number: int, label_map: LabelMap, segment: Segment) -> Dataset:
        roi = Dataset()
        roi.ReferencedROINumber, roi.ROIDisplayColor = number, list(segment.colour)
        contours = list(self._contours(label_map.labels, segment.number))
        if contours:
            roi.ContourSequence = contours
        return roi

    def _contours(self, labels: NDArray[np.uint8], number: int) -> Iterator[Dataset]:
        polygons: list[Polygon] = []
        count, drawn = 0, None
        for frame, plane in zip(self._frames, labels, strict=True):
            if drawn is None or not np.array_equal(plane, drawn):
                polygons, drawn = trace(plane == number), plane
            for polygon in polygons:
                count += 1
                yield self._contour(count, frame, polygon)

    def _contour(self, number: int, frame: Frame, polygon: Polygon) -> Dataset:
        contour = Dataset()
        contour.ContourNumber = number
        contour.ContourImageSequence = [_image([frame], of=self._by_instance[frame.sop_instance_uid])]
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(polygon)
        points_mm = np.array(frame.image_position_patient) + polygon @ self._steps_mm.T
        content = _decimals(points_mm.ravel())
        # As bytes that are written as they are: pydicom takes five microseconds for each of a million numbers.
        contour[_CONTOUR_DATA] = RawDataElement(
            _CONTOUR_DATA, "DS", len(content), content, 0, is_implicit_VR=True, is_little_endian=True
        )
        contour.set_original_encoding(True, True, default_encoding)  # noqa: FBT003 - implicit VR, little endian
        return contour


def _decimals(values: NDArray[np.float64]) -> bytes:
    limit = 10.0 ** (_DECIMAL_CHARACTERS - _DECIMALS - 2)  # a sign and a point
    if not np.isfinite(values).all() or np.abs(values).max() >= limit:
        raise OutputNotValid(f"expected positions in the patient within {limit:.0e} mm")
    text = "\\".join([f"%.{_DECIMALS}f"] * len(values)) % tuple(values.tolist())
    return (text + " " * (len(text) % 2)).encode()
