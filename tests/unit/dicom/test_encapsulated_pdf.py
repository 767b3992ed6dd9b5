"""The report as a DICOM object: the same page, in the study of its images, valid."""

from __future__ import annotations

import subprocess
from io import BytesIO

import pytest
from pydicom import dcmread
from radbus_dicom.derived.encapsulated_pdf import make_encapsulated_pdf
from radbus_dicom.derived.report_pdf import PatientFacts, ReportContent, make_report_pdf


@pytest.fixture
def pdf(provenance) -> bytes:
    return make_report_pdf(ReportContent("Chest CT", PatientFacts("Secret^Patient"), "Nothing.", provenance))


def as_bytes(ds) -> bytes:
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_the_page_comes_out_as_it_went_in(pdf, instance, provenance):
    for content in (pdf, pdf + b"\n"):  # one of even, one of odd length
        ds = make_encapsulated_pdf(content, title="Chest CT", source=instance(), provenance=provenance)

        read = dcmread(BytesIO(as_bytes(ds)))

        assert read.EncapsulatedDocument[: read.EncapsulatedDocumentLength] == content


def test_it_is_in_the_study_and_of_the_patient_of_its_source_in_any_script(pdf, instance, provenance):
    source = instance(PatientName="Yamada^Tarou=山田^太郎")

    read = dcmread(BytesIO(as_bytes(make_encapsulated_pdf(pdf, title="頭部", source=source, provenance=provenance))))

    assert (str(read.PatientName), read.StudyInstanceUID, read.DocumentTitle) == (
        "Yamada^Tarou=山田^太郎",
        source.StudyInstanceUID,
        "頭部",
    )
    assert "research use only" in read.SeriesDescription


def test_made_again_it_is_the_same(pdf, instance, provenance):
    first, second = (
        as_bytes(make_encapsulated_pdf(pdf, title="Chest CT", source=instance(), provenance=provenance))
        for _ in range(2)
    )

    assert first == second


def test_it_is_valid(pdf, instance, provenance, dciodvfy, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(as_bytes(make_encapsulated_pdf(pdf, title="CT", source=instance(), provenance=provenance)))

    said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr

    assert [line for line in said.splitlines() if line.startswith("Error")] == []
