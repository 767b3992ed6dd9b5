"""Make an Encapsulated PDF (PS3.3 A.45.1) of the report, so that it lies in the archive beside the images."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from radbus_dicom.derived.provenance import MANUFACTURER, Provenance
from radbus_dicom.derived.stamping import LONG_STRING_CHARACTERS, stamp
from radbus_dicom.identity import derived_uid, series_uid

SERIES_NUMBER: Final = 9500
_TEXT_CHARACTERS: Final = 1024


def make_encapsulated_pdf(pdf: bytes, *, title: str, source: Dataset, provenance: Provenance) -> Dataset:
    """Return the object that holds `pdf`, in the study of `source`, the header of an instance that it reports on."""
    ds = Dataset()
    ds.SOPClassUID = EncapsulatedPDFStorage
    ds.SOPInstanceUID = derived_uid(provenance.job_id, f"pdf/{provenance.machine}")
    ds.SeriesInstanceUID = series_uid(provenance.job_id, "pdf")
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "DOC", SERIES_NUMBER, 1
    ds.Manufacturer, ds.ManufacturerModelName = MANUFACTURER, provenance.machine
    ds.SoftwareVersions, ds.ConversionType = provenance.machine_version, "WSD"
    ds.AcquisitionDateTime = ""
    ds.BurnedInAnnotation = "YES"  # the patient is named on the page
    ds.RecognizableVisualFeatures = "NO"
    ds.ContentDate = ds.ContentTime = ""
    ds.DocumentTitle = title[:_TEXT_CHARACTERS]
    ds.ConceptNameCodeSequence = [_concept()]
    ds.VerificationFlag = "UNVERIFIED"
    ds.SourceInstanceSequence = [_reference(source)]
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(pdf)
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return stamp(
        ds, title=f"{provenance.use_case} report"[:LONG_STRING_CHARACTERS], source=source, provenance=provenance
    )


def _concept() -> Dataset:
    concept = Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator = "18748-4", "LN"
    concept.CodeMeaning = "Diagnostic imaging study"
    return concept


def _reference(source: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return reference
