"""Make a DICOM SEG (PS3.3 A.51) from a label map, aligned with the source frames: binary, or as a label map."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.types import Frame, LabelMap, Segment

from radbus_dicom.derived.coding import algorithm_of, coded
from radbus_dicom.derived.labels import check_labels
from radbus_dicom.derived.provenance import MANUFACTURER, Provenance
from radbus_dicom.derived.sources import sources_for_highdicom
from radbus_dicom.derived.stamping import LONG_STRING_CHARACTERS, code_string, stamp
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.identity import derived_uid, series_uid
from radbus_dicom.quiet import silence_pydicom

silence_pydicom()

SERIES_NUMBER = 9100


class Encoding(StrEnum):
    """How labels are stored: a bit a segment, which every viewer reads, or a label a voxel, which the newer ones do."""

    BINARY = "seg"
    LABELMAP = "seg_labelmap"


_TYPES = {
    Encoding.BINARY: hd.seg.SegmentationTypeValues.BINARY,
    Encoding.LABELMAP: hd.seg.SegmentationTypeValues.LABELMAP,
}


def make_segmentation(
    label_map: LabelMap,
    *,
    sources: Sequence[Dataset],
    frames: Sequence[Frame],
    provenance: Provenance,
    encoding: Encoding = Encoding.BINARY,
) -> Dataset | None:
    """Return the SEG of `label_map`, or None where nothing is labelled and a viewer would show nothing.

    `sources` are the headers of the source instances, in any order; `frames` are the volume's, in the labels' order.

    Raises:
        OutputNotValid: The labels do not match the frames or the segments.
    """
    _check(label_map, sources)
    check_labels(label_map, frames=len(frames))
    if not label_map.labels.any():
        return None
    segments = sorted(label_map.segments, key=lambda segment: segment.number)
    datasets = sources_for_highdicom(sources, frames)
    kind, of_series = encoding.value, provenance.of_series(datasets[0].SeriesInstanceUID)
    seg = hd.seg.Segmentation(
        source_images=datasets,
        pixel_array=_labels_in_source_order(label_map.labels, segments, datasets, frames),
        segmentation_type=_TYPES[encoding],
        segment_descriptions=[_description(i, s, provenance) for i, s in enumerate(segments, start=1)],
        series_instance_uid=series_uid(provenance.job_id, f"{kind}/{of_series}"),
        series_number=SERIES_NUMBER + (encoding is Encoding.LABELMAP),
        sop_instance_uid=_instance_uid(label_map, datasets[0], provenance, encoding),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=provenance.machine,
        software_versions=provenance.machine_version,
        device_serial_number=(provenance.weights_sha256 or provenance.job_id)[:LONG_STRING_CHARACTERS],
        content_description=RESEARCH_USE_ONLY,
        content_label=code_string(label_map.name),
        content_creator_name=f"{provenance.machine}^{MANUFACTURER}",
        omit_empty_frames=True,
        specific_character_set=None,
    )
    return _finished(seg, label_map, datasets[0], provenance, encoding)


def segmentation_reference(label_map: LabelMap, source: Dataset, provenance: Provenance) -> Dataset:
    """Return the four UIDs by which other objects name the SEG of a label map in which something is labelled."""
    reference = Dataset()
    reference.SOPClassUID, reference.SOPInstanceUID = SegmentationStorage, _instance_uid(label_map, source, provenance)
    reference.StudyInstanceUID = source.StudyInstanceUID
    reference.SeriesInstanceUID = series_uid(provenance.job_id, f"seg/{provenance.of_series(source.SeriesInstanceUID)}")
    return reference


def _instance_uid(
    label_map: LabelMap, source: Dataset, provenance: Provenance, encoding: Encoding = Encoding.BINARY
) -> str:
    of_series = provenance.of_series(source.SeriesInstanceUID)
    return derived_uid(provenance.job_id, f"{encoding.value}/{of_series}/{label_map.name}")


def _check(label_map: LabelMap, sources: Sequence[Dataset]) -> None:
    if not sources:
        raise OutputNotValid("expected the headers of the source instances")
    if len(sources) > 1 and any(int(source.get("NumberOfFrames") or 1) > 1 for source in sources):
        raise OutputNotValid("expected all frames in one multi-frame instance, or one in each of many")
    if label_map.labels.shape[1:] != (sources[0].Rows, sources[0].Columns):
        raise OutputNotValid(f"expected label frames of {sources[0].Rows} x {sources[0].Columns} pixels")


def _labels_in_source_order(
    labels: NDArray[np.uint8], segments: list[Segment], datasets: list[Dataset], frames: Sequence[Frame]
) -> NDArray[np.uint8]:
    if [segment.number for segment in segments] != list(range(1, len(segments) + 1)):
        lookup = np.zeros(256, np.uint8)
        for number, segment in enumerate(segments, start=1):
            lookup[segment.number] = number
        labels = lookup[labels]
    if len(datasets) == len(frames):
        return labels  # `datasets` are in the frames' order already
    in_instance = np.zeros((int(datasets[0].NumberOfFrames), *labels.shape[1:]), np.uint8)
    for index, frame in enumerate(frames):
        in_instance[frame.frame_number - 1] = labels[index]
    return in_instance


def _description(number: int, segment: Segment, provenance: Provenance) -> hd.seg.SegmentDescription:
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:LONG_STRING_CHARACTERS],
        segmented_property_category=coded(segment.category),
        segmented_property_type=coded(segment.kind),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm_of(provenance),
        display_color=hd.color.CIELabColor.from_rgb(*segment.colour),
    )
    if segment.laterality is not None:
        modifier = hd.sr.CodedConcept.from_code(coded(segment.laterality))
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    if segment.site is not None:
        region = hd.sr.CodedConcept.from_code(coded(segment.site.part))
        if segment.site.laterality is not None:
            side = hd.sr.CodedConcept.from_code(coded(segment.site.laterality))
            region.AnatomicRegionModifierSequence = [side]
        description.AnatomicRegionSequence = [region]
    return description


def _finished(
    seg: Dataset, label_map: LabelMap, source: Dataset, provenance: Provenance, encoding: Encoding
) -> Dataset:
    """Add what highdicom has no argument for, and replace what it takes from the clock or at random."""
    stamp(seg, title=f"{provenance.use_case} {label_map.name}", source=source, provenance=provenance)
    if "FrameOfReferenceUID" not in source:
        seg.PatientOrientation = source.get("PatientOrientation") or ""  # type 2C without a frame of reference
    of_series = provenance.of_series(source.SeriesInstanceUID)
    organization_uid = derived_uid(provenance.job_id, f"{encoding.value}/{of_series}/{label_map.name}/dimensions")
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization_uid
    for index in seg.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization_uid
    return seg
