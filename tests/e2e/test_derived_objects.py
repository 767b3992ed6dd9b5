"""Every object that a result has can be downloaded, is valid, and says the same as the others."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.request

import highdicom as hd
import pydicom
import pytest
from hl7apy.parser import parse_message
from radbus_testing.head_phantom import LEFT_BLOOD, head_phantom

pytestmark = [
    pytest.mark.stack,
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom"),
]

DICOM_KINDS = {"seg", "rtstruct", "sr", "gsps", "sc", "encapsulated_pdf"}


@pytest.fixture(scope="module")
def bleeding_head():
    return head_phantom(rows=160, blood=(LEFT_BLOOD,), shift_left_mm=-6.0)


@pytest.fixture
def chest_result(hospital, make_series):
    series = make_series()
    hospital.upload(series.instances)
    return series, hospital.result(series.uid).json()


@pytest.fixture
def head_result(hospital, make_series, bleeding_head):
    series = make_series(bleeding_head, body_part="HEAD", study_description="CT head phantom")
    hospital.upload(series.instances)
    return series, hospital.result(series.uid, timeout_s=120).json()


def download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def objects_of(body) -> dict[str, list[bytes]]:
    return {kind: [download(url) for url in urls] for kind, urls in body["result"]["files"].items()}


def errors_of(content: bytes, dciodvfy: str, path) -> list[str]:
    path.write_bytes(content)
    said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr
    return [line for line in said.splitlines() if line.startswith("Error")]


def is_dicom(content: bytes) -> bool:
    return content[128:132] == b"DICM"


@pytest.mark.parametrize("of", ["chest_result", "head_result"])
def test_every_dicom_object_of_a_result_is_valid_and_in_the_study(of, request, dciodvfy, tmp_path):
    series, body = request.getfixturevalue(of)

    objects = objects_of(body)

    # By what a file is, not by its kind: what is new among the kinds is looked at, too.
    dicom = {kind: [each for each in contents if is_dicom(each)] for kind, contents in objects.items()}
    assert {kind for kind, contents in dicom.items() if contents} >= DICOM_KINDS
    for kind in DICOM_KINDS:
        assert len(dicom[kind]) == len(objects[kind])
    for kind, contents in dicom.items():
        for content in contents:
            assert errors_of(content, dciodvfy, tmp_path / "object.dcm") == [], kind
            assert pydicom.dcmread(io.BytesIO(content)).StudyInstanceUID == series.study


def test_an_object_that_is_not_valid_would_be_found_out_whatever_its_kind(chest_result, dciodvfy, tmp_path):
    _, body = chest_result

    for kind, contents in objects_of(body).items():
        if not is_dicom(contents[0]):
            continue
        broken = pydicom.dcmread(io.BytesIO(contents[0]))
        del broken.StudyInstanceUID  # type 1 in each of them
        stream = io.BytesIO()
        broken.save_as(stream, enforce_file_format=True)
        assert errors_of(stream.getvalue(), dciodvfy, tmp_path / "object.dcm"), kind


def test_report_fhir_and_hl7_say_what_the_result_says(chest_result):
    _, body = chest_result
    objects = objects_of(body)
    said = {each["title"]: round(each["value"], 1) for each in body["result"]["measurements"]}

    sr = hd.sr.srread(io.BytesIO(objects["sr"][0]))
    (seg,) = (pydicom.dcmread(io.BytesIO(each)) for each in objects["seg"])
    resources = [each["resource"] for each in json.loads(objects["fhir"][0])["entry"]]
    message = parse_message(objects["hl7"][0].decode())

    groups = [*sr.content.get_volumetric_roi_measurement_groups(), *sr.content.get_image_measurement_groups()]
    in_sr = sorted(round(float(m.value), 1) for group in groups for m in group.get_measurements())
    assert in_sr == sorted(said.values())
    named = {g.referenced_segment.referenced_sop_instance_uid for g in groups if hasattr(g, "referenced_segment")}
    assert named <= {seg.SOPInstanceUID}
    observed = {
        each["code"]["text"]: round(each["valueQuantity"]["value"], 1) for each in resources if "valueQuantity" in each
    }
    assert observed == said
    assert message.msh.msh_9.value == "ORU^R01^ORU_R01"
    assert objects["hl7"][0].count(b"|NM|") == len(said)
    encapsulated = pydicom.dcmread(io.BytesIO(objects["encapsulated_pdf"][0]))
    assert encapsulated.EncapsulatedDocument[: encapsulated.EncapsulatedDocumentLength] == objects["pdf"][0]


def test_a_head_with_blood_on_the_left_is_critical_and_says_left(head_result, bleeding_head):
    _, body = head_result

    values = body["result"]["values"]["head"]
    assert (body["usecase"], body["triage_status"]) == ("qer", "Critical")
    assert values["lesion_volume_ml"] == pytest.approx(bleeding_head.truth.blood_ml, rel=0.15)
    assert values["midline_shift_mm"] == pytest.approx(6.0, abs=1.2)
    assert "(left)" in body["result"]["report"]
