"""What runs in the worker's process pool: module-level functions of small, picklable arguments; files in, files out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from radbus_dicom.decoding import decode_into
from radbus_dicom.derived.archives import make_npz
from radbus_dicom.derived.comparison import Comparison
from radbus_dicom.derived.encapsulated_pdf import make_encapsulated_pdf
from radbus_dicom.derived.fhir import make_fhir_bundle
from radbus_dicom.derived.hl7 import make_oru_r01
from radbus_dicom.derived.key_slices import default_window, draw_key_slice
from radbus_dicom.derived.measurement_report import SegmentationReference, make_measurement_report
from radbus_dicom.derived.presentation_state import Drawn, make_presentation_state
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.derived.report_pdf import make_report_pdf
from radbus_dicom.derived.reported import Reported
from radbus_dicom.derived.rt_structure_set import Structures, make_rt_structure_set
from radbus_dicom.derived.secondary_capture import Overlaid, make_secondary_captures
from radbus_dicom.derived.segmentation import Encoding, make_segmentation, segmentation_reference
from radbus_dicom.elements import dataset_of
from radbus_dicom.frames import FrameHeader, read_frame_headers
from radbus_dicom.geometry import FrameSlot
from radbus_dicom.opening import read_header_dataset
from radbus_dicom.tones import Tone
from radbus_machines.types import KeyFrame, Line, MachineOutput

from radbus_worker.adapters.archives import read_entries, unpack
from radbus_worker.adapters.shared_volumes import SharedLabels, SharedVolume

__all__ = [
    "decode",
    "read_entries",
    "read_headers",
    "unpack",
    "write_key_slices",
    "write_measurement_report",
    "write_npz",
    "write_presentation_state",
    "write_reports",
    "write_rt_structure_set",
    "write_secondary_captures",
    "write_segmentation",
]

REPORT_PDF, REPORT_DICOM, REPORT_FHIR, REPORT_HL7 = "report.pdf", "report.dcm", "report.fhir.json", "report.hl7"


@dataclass(frozen=True, slots=True)
class Shown:
    """What is drawn over the frames beside the labels, and how the frames are shown; None leaves it to the volume."""

    key_frames: Sequence[KeyFrame]
    lines: Sequence[Line]
    tone: Tone | None


@dataclass(frozen=True, slots=True)
class Origin:
    """What derived objects are made from: the source instances, in the volume's order, and who makes them."""

    sources: tuple[Path, ...]
    volume: SharedVolume
    provenance: Provenance


def read_headers(paths: Sequence[Path]) -> list[FrameHeader]:
    """Read the headers of all frames of some instances."""
    return [header for path in paths for header in read_frame_headers(path)]


def decode(work: Sequence[tuple[Path, tuple[FrameSlot, ...]]], target: SharedVolume) -> None:
    """Decode some instances into their slots of a shared volume."""
    voxels = target.voxels()
    for path, slots in work:
        decode_into(path, slots, voxels)


def write_segmentation(labels: SharedLabels, origin: Origin, encoding: Encoding, target: Path) -> bool:
    """Write the SEG of a label map; False when nothing is labelled and there is none."""
    ds = make_segmentation(
        labels.label_map(),
        sources=_headers(origin),
        frames=origin.volume.frames,
        provenance=origin.provenance,
        encoding=encoding,
    )
    if ds is None:
        return False
    ds.save_as(target, enforce_file_format=True)
    return True


def write_measurement_report(
    output: MachineOutput,
    labels: Sequence[SharedLabels],
    origin: Origin,
    comparison: Comparison | None,
    target: Path,
) -> bool:
    """Write the SR of an output, whose label maps come as `labels`; False when it has nothing to say."""
    headers = _headers(origin)
    label_maps = [each.label_map() for each in labels]
    references = [
        SegmentationReference(each, segmentation_reference(each, headers[0], origin.provenance))
        for each in label_maps
        if each.labels.any()
    ]
    ds = make_measurement_report(
        output,
        sources=headers,
        frames=origin.volume.frames,
        segmentations=references,
        provenance=origin.provenance,
        comparison=comparison,
    )
    if ds is None:
        return False
    ds.save_as(target, enforce_file_format=True)
    return True


def write_presentation_state(labels: Sequence[SharedLabels], shown: Shown, origin: Origin, target: Path) -> bool:
    """Write the presentation state of the label maps; False when one cannot show all source instances."""
    tone = shown.tone or default_window(origin.volume.volume_to_draw())
    label_maps = [each.label_map() for each in labels]
    drawn = Drawn(label_maps, shown.key_frames, origin.volume.frames, tone, shown.lines)
    ds = make_presentation_state(drawn, sources=_headers(origin), provenance=origin.provenance)
    if ds is None:
        return False
    ds.save_as(target, enforce_file_format=True)
    return True


def write_secondary_captures(labels: Sequence[SharedLabels], shown: Shown, origin: Origin, folder: Path) -> list[Path]:
    """Write the secondary captures into a folder and return their paths, in their order."""
    label_maps = [each.label_map() for each in labels]
    overlaid = Overlaid(origin.volume.volume_to_draw(), label_maps, shown.key_frames, shown.tone, shown.lines)
    paths: list[Path] = []
    for ds in make_secondary_captures(overlaid, sources=_headers(origin), provenance=origin.provenance):
        paths.append(folder / f"sc-{len(paths) + 1:03d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def _headers(origin: Origin) -> list[Dataset]:
    return [read_header_dataset(path) for path in origin.sources]


def write_rt_structure_set(
    labels: Sequence[SharedLabels],
    volume: SharedVolume,
    *,
    source: Path,
    provenance: Provenance,
    model_id: str,
    all_organs: bool,
    target: Path,
) -> None:
    """Write the RT Structure Set of all label maps; `source` is the instance of the first frame."""
    structures = Structures([each.label_map() for each in labels], volume.frames, volume.geometry, all_organs)
    header = read_header_dataset(source)
    ds = make_rt_structure_set(structures, source=header, provenance=provenance, model_id=model_id)
    ds.save_as(target, enforce_file_format=True)


def write_npz(labels: SharedLabels, volume: SharedVolume, target: Path) -> None:
    """Write a label map as a compressed NumPy archive."""
    target.write_bytes(make_npz(labels.label_map(), volume.geometry))


def write_key_slices(
    volume: SharedVolume,
    labels: Sequence[SharedLabels],
    shown: Shown,
    targets: Sequence[Path],
) -> None:
    """Draw the key frames, each into its file, with labels and lines over them."""
    drawn, label_maps = volume.volume_to_draw(), [each.label_map() for each in labels]
    for key_frame, target in zip(shown.key_frames, targets, strict=True):
        png = draw_key_slice(drawn, key_frame, label_maps=label_maps, window=shown.tone, lines=shown.lines)
        target.write_bytes(png)


def write_reports(reported: Reported, header: Mapping[str, Any], folder: Path) -> None:
    """Write the report as PDF, as DICOM (of the instance that has this header), as FHIR and as HL7 v2."""
    content = reported.content
    pdf = make_report_pdf(content)
    source = dataset_of(header)
    encapsulated = make_encapsulated_pdf(pdf, title=content.title, source=source, provenance=content.provenance)
    encapsulated.save_as(folder / REPORT_DICOM, enforce_file_format=True)
    (folder / REPORT_PDF).write_bytes(pdf)
    (folder / REPORT_FHIR).write_bytes(make_fhir_bundle(reported, pdf=pdf))
    (folder / REPORT_HL7).write_bytes(make_oru_r01(reported))
