"""Synthetic instances built here, byte for byte known; no patient ever had these."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from radbus_dicom.decoding import decode_into
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.frames import FrameHeader, read_frame_headers
from radbus_dicom.geometry import plan_volume
from radbus_machines.types import Code, LabelMap, Segment, Volume

ROWS, COLUMNS = 12, 10
AXIAL = (1, 0, 0, 0, 1, 0)
ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
LUNG = Code("39607008", "SCT", "Lung")


def ct_instance(number: int = 1, **changes: object) -> Dataset:
    """Return a CT slice that is valid in every respect, but for `changes`; None deletes an element."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = f"1.2.3.4.1.{number}"
    ds.StudyDate, ds.StudyTime = "20260102", "101112"
    ds.AccessionNumber, ds.StudyID = "ACC1", "S1"
    ds.Modality, ds.Manufacturer = "CT", "maker"
    ds.ReferringPhysicianName = "Doe^John"
    ds.StudyDescription = "CT CHEST"
    ds.PatientName, ds.PatientID = "Secret^Patient", "SECRET-ID"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "F"
    ds.BodyPartExamined = "CHEST"
    ds.KVP = 120
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.4.2", "1.2.3.4.3"
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 1, 1, number
    ds.PatientPosition = "HFS"
    ds.ImagePositionPatient = [0, 0, number]
    ds.ImageOrientationPatient = list(AXIAL)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "1.2.3.4.4", ""
    ds.PixelSpacing, ds.SliceThickness = [0.5, 0.75], 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    ds.PixelData = (np.arange(ROWS * COLUMNS, dtype=np.uint16) + 100 * number).tobytes()
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def part10(ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """Return `ds` as a DICOM file."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax_uid
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CTImageStorage)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3")
    stream = BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture
def instance() -> Callable[..., Dataset]:
    return ct_instance


@pytest.fixture
def as_file() -> Callable[..., bytes]:
    return part10


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write one CT slice for each position; extra keyword arguments change every slice."""

    def write(positions: Sequence[Sequence[float]], **changes: object) -> list[Path]:
        paths = []
        for number, position in enumerate(positions, start=1):
            path = tmp_path / f"{number:03}.dcm"
            path.write_bytes(part10(ct_instance(number, ImagePositionPatient=list(position), **changes)))
            paths.append(path)
        return paths

    return write


@pytest.fixture
def headers_of() -> Callable[[Sequence[Path]], list[FrameHeader]]:
    return lambda paths: [header for path in paths for header in read_frame_headers(path)]


@pytest.fixture
def load_volume(headers_of: Callable[[Sequence[Path]], list[FrameHeader]]) -> Callable[[Sequence[Path]], Volume]:
    def load(paths: Sequence[Path]) -> Volume:
        plan = plan_volume(headers_of(paths))
        voxels = np.zeros(plan.shape, plan.dtype)
        for path, slots in plan.slots_by_path().items():
            decode_into(path, slots, voxels)
        return Volume(voxels, plan.geometry, plan.frames, plan.modality, {}, plan.remarks)

    return load


@pytest.fixture
def provenance() -> Provenance:
    return Provenance("job-1", "lung-ct", "1.2.0", "qct", 1, datetime(2026, 1, 2, tzinfo=UTC), "ab" * 32)


@pytest.fixture
def label_map() -> Callable[[NDArray[np.uint8]], LabelMap]:
    left = Segment(1, "Left lung", ANATOMY, LUNG, (0, 200, 0), Code("7771000", "SCT", "Left"))
    right = Segment(2, "Right lung", ANATOMY, LUNG, (200, 60, 0), Code("24028007", "SCT", "Right"))
    return lambda labels: LabelMap("lungs", labels, (left, right))


@pytest.fixture
def text_of(tmp_path) -> Callable[[bytes], str]:
    """Read the text of a PDF, laid out as on the page."""

    def read(pdf: bytes) -> str:
        path = tmp_path / "report.pdf"
        path.write_bytes(pdf)
        command = ["pdftotext", "-layout", str(path), "-"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return read
