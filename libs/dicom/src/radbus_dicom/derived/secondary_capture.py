"""Make a series of secondary captures (PS3.3 A.8.1): source frames in colour with the labels, for any viewer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.types import KeyFrame, LabelMap, Line, Volume

from radbus_dicom.derived.key_slices import (
    default_window,
    draw_lines,
    orientation_letters,
    overlaid,
    write_fitting,
)
from radbus_dicom.derived.labels import check_labels
from radbus_dicom.derived.provenance import MANUFACTURER, Provenance
from radbus_dicom.derived.sources import LOSSY_COMPRESSION, sources_for_highdicom
from radbus_dicom.derived.stamping import stamp
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.identity import derived_uid, series_uid
from radbus_dicom.quiet import silence_pydicom
from radbus_dicom.radiographs import PROJECTION_MODALITIES
from radbus_dicom.tones import Tone

silence_pydicom()

SERIES_NUMBER: Final = 9400
MOST_FRAMES: Final = 64
_PLACE: Final = ("ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID", "SliceThickness")
_SMALLEST_LETTERING_PX: Final = 8
_YELLOW: Final = (255, 220, 90)


@dataclass(frozen=True, slots=True)
class Overlaid:
    """What is drawn: a volume, and label maps, key frames and measured lines of it."""

    volume: Volume
    label_maps: Sequence[LabelMap]
    key_frames: Sequence[KeyFrame]
    window: Tone | None = None
    lines: Sequence[Line] = ()


def chosen_frames(overlaid_: Overlaid, *, most: int = MOST_FRAMES) -> list[int]:
    """Return the frames that are worth a capture: key frames, and evenly among those with a label."""
    key = {each.frame for each in overlaid_.key_frames}
    labelled = np.zeros(len(overlaid_.volume.voxels), np.bool_)
    for label_map in overlaid_.label_maps:
        labelled |= label_map.labels.any(axis=(1, 2))
    others = np.array(sorted(set(np.flatnonzero(labelled).tolist()) - key), np.int64)
    room = max(0, most - len(key))
    if len(others) > room:
        others = others[np.linspace(0, len(others) - 1, room).round().astype(np.int64)] if room else others[:0]
    return sorted(sorted(key)[:most] + others.tolist())


def make_secondary_captures(
    overlaid_: Overlaid, *, sources: Sequence[Dataset], provenance: Provenance
) -> Iterator[Dataset]:
    """Give the captures of the chosen frames one by one, compressed if possible, in pixels and place as their source.

    `sources` are the headers of the source instances, in any order.

    Raises:
        OutputNotValid: The labels do not match the frames or the segments, or a source is absent.
    """
    volume = overlaid_.volume
    if not sources:
        raise OutputNotValid("expected the headers of the source instances")
    for label_map in overlaid_.label_maps:
        check_labels(label_map, frames=len(volume.frames))
    images = {str(image.SOPInstanceUID): image for image in sources_for_highdicom(sources, volume.frames)}
    first = next(iter(images.values()))
    name = f"sc/{provenance.of_series(first.SeriesInstanceUID)}"
    for number, frame in enumerate(chosen_frames(overlaid_), start=1):
        source = images[volume.frames[frame].sop_instance_uid]
        capture = hd.sc.SCImage.from_ref_dataset(
            first,
            pixel_array=_pixels(overlaid_, frame),
            photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=hd.CoordinateSystemNames.PATIENT,
            series_instance_uid=series_uid(provenance.job_id, name),
            series_number=SERIES_NUMBER,
            sop_instance_uid=derived_uid(provenance.job_id, f"{name}/{frame}"),
            instance_number=number,
            manufacturer=MANUFACTURER,
            patient_orientation=_orientation(volume),
            transfer_syntax_uid=_syntax(volume),
            specific_character_set=None,
        )
        yield _finished(capture, overlaid_, frame, source, provenance)


def _syntax(volume: Volume) -> str:
    # An odd number of bytes is padded to an even one, at which the encoder, a library in C++, ends the whole process.
    _, rows, columns = volume.voxels.shape
    return str(ExplicitVRLittleEndian if rows * columns % 2 else RLELossless)


def _orientation(volume: Volume) -> tuple[str, str]:
    """Return where columns and rows run to, by the one letter that says most."""
    across, down = (orientation_letters([float(c) for c in volume.geometry.direction[:, axis]]) for axis in (2, 1))
    return across[0], down[0]


def _pixels(overlaid_: Overlaid, frame: int) -> NDArray[np.uint8]:
    volume = overlaid_.volume
    _, rows, columns = volume.voxels.shape
    window = overlaid_.window or default_window(volume)
    picture, _ = overlaid(volume, frame, overlaid_.label_maps, window, size=(columns, rows))
    draw_lines(picture, volume, [line for line in overlaid_.lines if line.frame == frame])
    size_px = rows // 32
    if size_px >= _SMALLEST_LETTERING_PX:  # on smaller images it would cover what is to be seen
        write_fitting(ImageDraw.Draw(picture), (2, rows - size_px - 4), RESEARCH_USE_ONLY, size_px, _YELLOW)
    return np.asarray(picture, dtype=np.uint8)


def _finished(capture: Dataset, overlaid_: Overlaid, frame: int, source: Dataset, provenance: Provenance) -> Dataset:
    """Say where the capture lies and of what it was made."""
    volume = overlaid_.volume
    where = volume.frames[frame]
    capture.Laterality = ""  # type 2C: nobody says that what is shown has only one side
    capture.ConversionType, capture.ImageType = "WSD", ["DERIVED", "SECONDARY"]
    if volume.modality in PROJECTION_MODALITIES:
        capture.PatientOrientation = source.get("PatientOrientation") or ""  # only the source can say
    capture.BurnedInAnnotation = "NO"  # nothing of the patient is written into the pixels
    capture.ManufacturerModelName, capture.SoftwareVersions = provenance.machine, provenance.machine_version
    titles = {key.frame: key.title for key in overlaid_.key_frames}
    capture.ImageComments = f"{titles.get(frame, '')} {RESEARCH_USE_ONLY}".strip()
    capture.SourceImageSequence = [_reference(source, where.frame_number)]
    for keyword in (*_PLACE, *LOSSY_COMPRESSION):
        if source.get(keyword):
            setattr(capture, keyword, source.get(keyword))
    if source.get("ImageOrientationPatient"):
        capture.ImagePositionPatient = [f"{value:.6g}" for value in where.image_position_patient]
    stamp(capture, title=f"{provenance.use_case} overlay", source=source, provenance=provenance)
    capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = capture.SeriesDate, capture.SeriesTime
    return capture


def _reference(source: Dataset, frame_number: int) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    if int(source.get("NumberOfFrames") or 1) > 1:
        reference.ReferencedFrameNumber = frame_number
    return reference
