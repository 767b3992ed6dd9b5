"""A radiograph as a DICOM instance, in the ways in which modalities and archives write them."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

_TOP = 4095


@dataclass(frozen=True, slots=True)
class RadiographHeader:
    """What a test may want to choose; `kind` is DX, RAW (DX for processing), CR, or SC (a capture of modality DX)."""

    kind: str = "DX"
    photometric_interpretation: str = "MONOCHROME2"
    patient_orientation: tuple[str, str] | None = ("L", "F")
    view_position: str = "PA"
    body_part: str = "CHEST"
    spacing_mm: float | None = 0.6
    magnification: float | None = None
    patient_id: str = "PHANTOM-CXR"
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None


def radiograph_instance(stored: NDArray[np.float32], header: RadiographHeader | None = None) -> bytes:
    """Write stored values from 0 to 4095 [rows, columns] as they are; the same ones are the same study."""
    header = header or RadiographHeader()
    pixels = np.clip(np.rint(stored), 0, _TOP).astype("<u2")
    entropy = [header.patient_id, header.kind, str(zlib.crc32(pixels.tobytes())), str(header.patient_orientation)]
    ds = _header_dataset(header)
    ds.StudyInstanceUID = header.study_instance_uid or generate_uid(entropy_srcs=[*entropy, "study"])
    ds.SeriesInstanceUID = header.series_instance_uid or generate_uid(entropy_srcs=[*entropy, "series"])
    ds.SOPInstanceUID = generate_uid(entropy_srcs=[*entropy, ds.SeriesInstanceUID, header.view_position])
    _add_image(ds, header, pixels)
    return _encoded(ds)


def _header_dataset(header: RadiographHeader) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SOPClassUID = {
        "DX": DigitalXRayImageStorageForPresentation,
        "RAW": DigitalXRayImageStorageForProcessing,
        "CR": ComputedRadiographyImageStorage,
        "SC": SecondaryCaptureImageStorage,
    }[header.kind]
    ds.Modality = "CR" if header.kind == "CR" else "DX"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.AccessionNumber, ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "PX0001", "1", 1, 1
    ds.Manufacturer, ds.ReferringPhysicianName = "radbus", ""
    ds.StudyDescription, ds.SeriesDescription = "Chest radiograph phantom", "Phantom"
    ds.PatientName, ds.PatientID = "Phantom^Radiograph", header.patient_id
    ds.PatientBirthDate, ds.PatientSex = "19600101", "O"
    ds.BodyPartExamined, ds.ViewPosition = header.body_part, header.view_position
    ds.PatientOrientation = list(header.patient_orientation) if header.patient_orientation else ""
    if header.kind == "SC":
        ds.ConversionType = "WSD"
    else:
        ds.KVP = "125"
    if header.kind in ("DX", "RAW"):
        _add_digital_x_ray(ds, header)
    return ds


def _add_digital_x_ray(ds: Dataset, header: RadiographHeader) -> None:
    """Add what the modules of Digital X-Ray (PS3.3 C.8.11) ask for beside the pixels."""
    ds.PresentationIntentType = "FOR PRESENTATION" if header.kind == "DX" else "FOR PROCESSING"
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "51185008", "SCT", "Chest"
    ds.ImageLaterality, ds.AnatomicRegionSequence, ds.AcquisitionContextSequence = "U", [region], []
    ds.DetectorType, ds.PositionerType = "DIRECT", ""
    ds.LossyImageCompression, ds.BurnedInAnnotation = "00", "NO"
    inverse = header.photometric_interpretation == "MONOCHROME1"
    ds.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    if header.kind == "DX":
        ds.WindowCenter, ds.WindowWidth = ("2845", "2500") if inverse else ("1250", "2500")


def _add_image(ds: Dataset, header: RadiographHeader, pixels: NDArray[np.uint16]) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, header.photometric_interpretation
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    if header.spacing_mm is not None:
        ds.ImagerPixelSpacing = [header.spacing_mm] * 2
        if header.magnification is not None:
            ds.EstimatedRadiographicMagnificationFactor = str(header.magnification)
    if header.kind in ("DX", "RAW"):
        ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PixelData = pixels.tobytes()


def _encoded(ds: Dataset) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = io.BytesIO()
    dcmwrite(content, ds, enforce_file_format=True)
    return content.getvalue()
