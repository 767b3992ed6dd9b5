"""A chest radiograph on its whole way: the result, its report in sections, its objects, and what is no chest."""

from __future__ import annotations

import io
import subprocess
import urllib.request

import httpx2
import numpy as np
import pydicom
import pytest
from radbus_testing.drawn_chest import HEART_MM, THORAX_MM, drawn_chest, drawn_hand
from radbus_testing.radiograph_dicom import RadiographHeader, radiograph_instance

pytestmark = [
    pytest.mark.stack,
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom"),
]

DICOM_KINDS = {"seg", "sr", "gsps", "sc", "encapsulated_pdf"}


def uploaded(hospital, *instances: bytes) -> str:
    files = [(f"file{n}", (f"{n}.dcm", content, "application/dicom")) for n, content in enumerate(instances)]
    answer = httpx2.post(hospital.url("/upload"), headers=hospital.headers, files=files, timeout=60)
    assert answer.status_code == 200, answer.text
    (uid,) = answer.json()["series_instance_uids"]
    return uid


def objects_of(body) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for kind, urls in body["result"]["files"].items():
        for url in urls:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found.setdefault(kind, []).append(answer.read())
    return found


def errors_of(content: bytes, dciodvfy: str, path) -> list[str]:
    path.write_bytes(content)
    said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr
    return [line for line in said.splitlines() if line.startswith("Error")]


def test_an_opacity_on_the_left_of_a_mirrored_negative_is_left_and_every_object_is_valid_and_on_its_frame(
    hospital, dciodvfy, tmp_path
):
    stored = np.ascontiguousarray(np.fliplr(4095 - drawn_chest(opaque=True)))
    header = RadiographHeader(photometric_interpretation="MONOCHROME1", patient_orientation=("R", "F"))
    source = radiograph_instance(stored, header)
    assert errors_of(source, dciodvfy, tmp_path / "source.dcm") == []

    body = hospital.result(uploaded(hospital, source), timeout_s=120).json()

    assert (body["usecase"], body["triage_status"]) == ("qxr", "Routine")
    report, values = body["result"]["report"], body["result"]["values"]["chest"]
    assert report.keys() == {"findings", "impression", "findings_list"}
    assert "left lung is brighter" in report["impression"]
    assert [name for name, _ in report["findings_list"]] == ["enlarged_heart", "lungs_unlike"]
    assert values["denser_lung"] == "left"
    assert values["thorax_width_mm"] == pytest.approx(THORAX_MM, rel=0.05)
    objects = objects_of(body)
    assert objects.keys() >= DICOM_KINDS | {"sc_png", "pdf", "fhir", "hl7", "json", "npz"}
    assert "rtstruct" not in objects
    uid = pydicom.dcmread(io.BytesIO(source)).SOPInstanceUID
    for kind in DICOM_KINDS:
        for content in objects[kind]:
            assert errors_of(content, dciodvfy, tmp_path / "object.dcm") == [], kind
    state = pydicom.dcmread(io.BytesIO(objects["gsps"][0]))
    assert {
        image.ReferencedSOPInstanceUID
        for annotation in state.GraphicAnnotationSequence
        for image in annotation.ReferencedImageSequence
    } == {uid}
    assert state.PresentationLUTShape == "INVERSE"
    capture = pydicom.dcmread(io.BytesIO(objects["sc"][0]))
    assert (capture.SourceImageSequence[0].ReferencedSOPInstanceUID, capture.PatientOrientation) == (uid, ["R", "F"])
    segment = pydicom.dcmread(io.BytesIO(objects["seg"][0]))
    lungs = {each.SegmentLabel: number for number, each in enumerate(segment.SegmentSequence)}
    columns = [np.flatnonzero(frame.any(axis=0)).mean() for frame in segment.pixel_array]
    assert columns[lungs["Left lung field"]] < columns[lungs["Right lung field"]]  # it is stored mirrored


@pytest.mark.parametrize("kind", ["CR", "SC"])
def test_a_chest_in_whatever_object_it_comes_has_a_ratio(hospital, dciodvfy, tmp_path, kind):
    source = radiograph_instance(drawn_chest(), RadiographHeader(kind=kind, view_position="AP"))
    assert errors_of(source, dciodvfy, tmp_path / "source.dcm") == []

    body = hospital.result(uploaded(hospital, source), timeout_s=120).json()

    values = body["result"]["values"]["chest"]
    assert (body["usecase"], values["view"]) == ("qxr", "AP")
    assert values["cardiothoracic_ratio"] == pytest.approx(HEART_MM / THORAX_MM, abs=0.06)
    assert any("AP" in limit for limit in body["result"]["limits"])


def test_what_is_no_chest_is_answered_206_with_the_reason(hospital):
    uid = uploaded(hospital, radiograph_instance(drawn_hand()))

    answer = hospital.result(uid, timeout_s=120)

    body = answer.json()
    assert (answer.status_code, body["usecase"], body["triage_status"]) == (206, "not_implemented", "Routine")
    assert "does not look like a chest" in body["result"]["report"]
    assert body["result"]["values"] == {}
