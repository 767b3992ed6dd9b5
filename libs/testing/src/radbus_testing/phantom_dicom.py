"""The chest phantom as CT Image Storage instances."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from radbus_testing.phantom import ChestPhantom

_INTERCEPT = -1024


@dataclass(frozen=True, slots=True)
class PhantomHeader:
    """Header values of a phantom's instances that a test may want to choose."""

    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    patient_id: str = "PHANTOM"
    patient_name: str = "Phantom^Chest"
    accession_number: str = "PH0001"
    body_part: str = "CHEST"
    study_description: str = "CT chest phantom"
    series_description: str = "Phantom"
    convolution_kernel: str = "STANDARD"
    study_date: str = "20260102"
    series_number: int = 2


def phantom_instances(phantom: ChestPhantom, header: PhantomHeader | None = None, **changes: str) -> Iterator[bytes]:
    """Give the phantom as DICOM files, one a slice; keyword arguments change single values of the header.

    Without UIDs in the header they are derived from the header and the voxels: the same phantom is the same study.
    """
    header = _changed(header or PhantomHeader(), changes)
    entropy = [header.patient_id, header.accession_number, phantom.patient_position, str(_checksum(phantom))]
    study = header.study_instance_uid or generate_uid(entropy_srcs=[*entropy, "study"])
    series = header.series_instance_uid or generate_uid(entropy_srcs=[*entropy, study, "series"])
    frames = len(phantom.voxels)
    feet_first = phantom.patient_position.startswith("F")
    for k in range(frames):
        number = k + 1 if feet_first else frames - k
        ds = _header_dataset(phantom, header)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
        ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame of reference"])
        ds.InstanceNumber = number
        position = np.array(phantom.origin_mm) + phantom.direction[:, 0] * phantom.spacing_mm[0] * k
        ds.ImagePositionPatient = [round(float(value), 4) for value in position]
        ds.SliceLocation = round(float(position[2]), 4)
        ds.PixelData = (phantom.voxels[k] - _INTERCEPT).astype("<u2").tobytes()
        yield _encoded(ds)


def write_phantom(folder: Path, phantom: ChestPhantom, header: PhantomHeader | None = None) -> list[Path]:
    """Write the phantom's instances into a folder, named by their number in the order of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, content in enumerate(phantom_instances(phantom, header), start=1):
        path = folder / f"ct-{k:04d}.dcm"
        path.write_bytes(content)
        paths.append(path)
    return paths


def _checksum(phantom: ChestPhantom) -> int:
    """Tell phantoms apart by their middle slice and shape."""
    return zlib.crc32(phantom.voxels[len(phantom.voxels) // 2].tobytes(), len(phantom.voxels))


def _changed(header: PhantomHeader, changes: dict[str, str]) -> PhantomHeader:
    return replace(header, **changes)  # type: ignore[arg-type]


def _header_dataset(phantom: ChestPhantom, header: PhantomHeader) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = header.study_date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.AccessionNumber = header.accession_number
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "CT", "radbus", "chest phantom"
    ds.ReferringPhysicianName, ds.StudyDescription = "", header.study_description
    ds.SeriesDescription = header.series_description
    ds.PatientName, ds.PatientID = header.patient_name, header.patient_id
    ds.PatientBirthDate, ds.PatientSex = "19600101", "O"
    ds.BodyPartExamined, ds.PatientPosition = header.body_part, phantom.patient_position
    ds.SliceThickness = round(phantom.spacing_mm[0], 4)
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime = "120", "100", "500"
    ds.ConvolutionKernel = header.convolution_kernel
    if phantom.contrast:
        ds.ContrastBolusAgent = "Iodinated contrast"
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber = "1", header.series_number, 1
    orientation = np.concatenate([phantom.direction[:, 2], phantom.direction[:, 1]])
    ds.ImageOrientationPatient = [float(value) for value in orientation]
    ds.PositionReferenceIndicator = ""
    _add_image(ds, phantom)
    return ds


def _add_image(ds: Dataset, phantom: ChestPhantom) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = phantom.voxels.shape[1:]
    ds.PixelSpacing = [round(spacing, 6) for spacing in phantom.spacing_mm[1:]]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "-600", "1500"


def _encoded(ds: Dataset) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = io.BytesIO()
    dcmwrite(content, ds, enforce_file_format=True)
    return content.getvalue()
