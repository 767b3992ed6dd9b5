"""What runs in the worker's process pool: module-level functions of small, picklable arguments; files in, files out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from radbus_dicom.decoding import decode_into
from radbus_dicom.derived.archives import make_npz
from radbus_dicom.derived.key_slices import Window, draw_key_slice
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.derived.report_pdf import ReportContent, make_report_pdf
from radbus_dicom.derived.rt_structure_set import Structures, make_rt_structure_set
from radbus_dicom.derived.segmentation import make_segmentation
from radbus_dicom.frames import FrameHeader, read_frame_headers
from radbus_dicom.geometry import FrameSlot
from radbus_dicom.opening import read_header_dataset
from radbus_machines.types import KeyFrame

from radbus_worker.adapters.archives import read_entries, unpack
from radbus_worker.adapters.shared_volumes import SharedLabels, SharedVolume

__all__ = [
    "decode",
    "read_entries",
    "read_headers",
    "unpack",
    "write_key_slices",
    "write_npz",
    "write_report",
    "write_rt_structure_set",
    "write_segmentation",
]


def read_headers(paths: Sequence[Path]) -> list[FrameHeader]:
    """Read the headers of all frames of some instances."""
    return [header for path in paths for header in read_frame_headers(path)]


def decode(work: Sequence[tuple[Path, tuple[FrameSlot, ...]]], target: SharedVolume) -> None:
    """Decode some instances into their slots of a shared volume."""
    voxels = target.voxels()
    for path, slots in work:
        decode_into(path, slots, voxels)


def write_segmentation(
    labels: SharedLabels, sources: Sequence[Path], volume: SharedVolume, provenance: Provenance, target: Path
) -> bool:
    """Write the SEG of a label map; False when nothing is labelled and there is none."""
    headers = [read_header_dataset(path) for path in sources]
    ds = make_segmentation(labels.label_map(), sources=headers, frames=volume.frames, provenance=provenance)
    if ds is None:
        return False
    ds.save_as(target, enforce_file_format=True)
    return True


def write_rt_structure_set(
    labels: Sequence[SharedLabels],
    volume: SharedVolume,
    *,
    source: Path,
    provenance: Provenance,
    model_id: str,
    target: Path,
) -> None:
    """Write the RT Structure Set of all label maps; `source` is the instance of the first frame."""
    structures = Structures([each.label_map() for each in labels], volume.frames, volume.geometry)
    header = read_header_dataset(source)
    ds = make_rt_structure_set(structures, source=header, provenance=provenance, model_id=model_id)
    ds.save_as(target, enforce_file_format=True)


def write_npz(labels: SharedLabels, volume: SharedVolume, target: Path) -> None:
    """Write a label map as a compressed NumPy archive."""
    target.write_bytes(make_npz(labels.label_map(), volume.geometry))


def write_key_slices(
    volume: SharedVolume,
    labels: Sequence[SharedLabels],
    key_frames: Sequence[tuple[KeyFrame, Path]],
    window: Window | None,
) -> None:
    """Draw key frames with the labels over them."""
    drawn, label_maps = volume.volume(), [each.label_map() for each in labels]
    for key_frame, target in key_frames:
        target.write_bytes(draw_key_slice(drawn, key_frame, label_maps=label_maps, window=window))


def write_report(content: ReportContent, target: Path) -> None:
    """Write the report as PDF."""
    target.write_bytes(make_report_pdf(content))
