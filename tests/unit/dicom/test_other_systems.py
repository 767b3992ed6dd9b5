"""What hospital systems that speak FHIR or HL7 v2 read of a result is what the machine said, whatever characters."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from fhir.resources.R4B.bundle import Bundle
from hl7apy.parser import parse_message
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_dicom.derived.fhir import make_fhir_bundle
from radbus_dicom.derived.hl7 import make_oru_r01
from radbus_dicom.derived.report_pdf import PatientFacts, ReportContent
from radbus_dicom.derived.reported import Reported, SeriesFacts
from radbus_machines.types import Code, Finding, Measurement, Site

VOLUME, LUNG = Code("118565006", "SCT", "Volume"), Code("39607008", "SCT", "Lung")
PATIENT = PatientFacts(
    patient_name="Müller^Anna^B^Dr^",
    patient_id="A|1^2",
    patient_birth_date="19700102",
    patient_sex="F",
    study_date="20260102",
    accession_number="ACC&1",
    study_description="CT chest",
)


@pytest.fixture
def reported(provenance) -> Reported:
    content = ReportContent(
        "Chest CT",
        PATIENT,
        "One line\nand | another.",
        provenance,
        measurements=(Measurement("right_ml", "Right lung: volume", 1234.5, "mL", VOLUME, "Counted."),),
        findings=(Finding("emphysema", True, "Some ~ is there."), Finding("nodule", None, "Not judged.", VOLUME)),
        limits=("Thick slices.",),
    )
    return Reported(content, "1.2.3", (SeriesFacts("1.2.4", "CT", 12),))


def resources(content: bytes) -> dict[str, list[dict]]:
    Bundle.model_validate_json(content)
    found: dict[str, list[dict]] = {}
    for entry in json.loads(content)["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


def segments(content: bytes) -> list[list[str]]:
    return [line.split("|") for line in content.decode().split("\r") if line]


def test_the_bundle_says_who_what_and_how_much(reported):
    found = resources(make_fhir_bundle(reported, pdf=b"%PDF"))

    (patient,), (study,), (report,) = found["Patient"], found["ImagingStudy"], found["DiagnosticReport"]
    assert patient["name"] == [{"family": "Müller", "given": ["Anna", "B"], "prefix": ["Dr"]}]
    assert (patient["identifier"], patient["birthDate"], patient["gender"]) == (
        [{"value": "A|1^2"}],
        "1970-01-02",
        "female",
    )
    assert study["identifier"][0]["value"] == "urn:oid:1.2.3"
    assert study["series"][0]["uid"] == "1.2.4"
    assert report["conclusion"].startswith(RESEARCH_USE_ONLY)
    assert base64.b64decode(report["presentedForm"][0]["data"]) == b"%PDF"


def test_every_measurement_and_finding_is_an_observation_that_the_report_names(reported):
    found = resources(make_fhir_bundle(reported))

    volume, emphysema, nodule = found["Observation"]
    assert (volume["valueQuantity"]["value"], volume["valueQuantity"]["code"]) == (1234.5, "mL")
    assert emphysema["valueCodeableConcept"]["coding"][0]["display"] == "Present"
    assert nodule["valueCodeableConcept"]["coding"][0]["display"] == "Indeterminate"
    named = [each["reference"] for each in found["DiagnosticReport"][0]["result"]]
    assert named == [f"urn:uuid:{each['id']}" for each in found["Observation"]]


RIGHT = Code("24028007", "SCT", "Right")


@pytest.mark.parametrize(
    ("site", "codes", "text"),
    [
        (Site(LUNG, RIGHT), ["39607008:272741003=24028007", "39607008"], "Lung, right"),
        (Site(LUNG), ["39607008"], "Lung"),
        (Site(Code("HILUS", "99TEST", "Hilus"), RIGHT), ["HILUS"], "Hilus, right"),
    ],
)
def test_an_observation_says_of_which_part_of_the_body_and_of_which_day_it_is(reported, site, codes, text):
    (measurement,) = reported.content.measurements
    content = replace(reported.content, measurements=(replace(measurement, site=site),))

    found = resources(make_fhir_bundle(replace(reported, content=content)))

    volume, *findings = found["Observation"]
    assert [each["code"] for each in volume["bodySite"]["coding"]] == codes
    assert volume["bodySite"]["text"] == text
    assert all("bodySite" not in each for each in findings)
    assert {each["effectiveDateTime"] for each in (*found["Observation"], *found["DiagnosticReport"])} == {"2026-01-02"}


def test_a_patient_of_whom_nothing_is_known_is_still_fhir_and_hl7(provenance):
    bare = Reported(ReportContent("Title", PatientFacts(), "", provenance), "1.2.3", ())

    assert resources(make_fhir_bundle(bare))["Patient"][0].keys() == {"resourceType", "id"}
    assert parse_message(make_oru_r01(bare).decode()).msh.msh_9.value == "ORU^R01^ORU_R01"


@pytest.mark.parametrize(
    ("name", "families", "field"),
    [
        ("=王^小東", ["王"], "王^小東^^^^^^I"),
        ("Wang^XiaoDong=王^小東", ["Wang", "王"], "Wang^XiaoDong^^^^^^A~王^小東^^^^^^I"),
        ("==やまだ^たろう", ["やまだ"], "やまだ^たろう^^^^^^P"),
        ("Wang^XiaoDong==", ["Wang"], "Wang^XiaoDong"),
    ],
)
def test_every_spelling_of_a_name_is_told_and_none_is_needed(provenance, name, families, field):
    named = Reported(ReportContent("Title", PatientFacts(patient_name=name), "", provenance), "1.2.3", ())

    (patient,) = resources(make_fhir_bundle(named))["Patient"]
    (pid,) = (segment for segment in segments(make_oru_r01(named)) if segment[0] == "PID")

    assert [each["family"] for each in patient["name"]] == families
    assert pid[5] == field


@pytest.mark.parametrize("day", ["19700000", "00000000", "19700231", "20261301", "1970", "1970 1 1", "19700102000000"])
def test_a_day_that_is_not_in_the_calendar_is_left_out(provenance, day):
    patient = PatientFacts(patient_id="A", patient_birth_date=day, study_date=day)
    odd = Reported(ReportContent("Title", patient, "", provenance), "1.2.3", ())

    found, message = resources(make_fhir_bundle(odd)), segments(make_oru_r01(odd))

    assert "birthDate" not in found["Patient"][0]
    assert "started" not in found["ImagingStudy"][0]
    assert [segment[7:8] for segment in message if segment[0] == "OBR"] == [[""]]
    assert [segment[7:8] for segment in message if segment[0] == "PID"] == [[""]]


def test_empty_codes_and_units_are_left_out_and_spaces_within_them_are_one(provenance):
    content = ReportContent(
        "Title",
        PatientFacts(),
        "",
        provenance,
        measurements=(
            Measurement("a", "", 1.0, "", Code("1  2", "99TEST", ""), "A."),
            Measurement("b", "B", 1.0, "mL  each", Code("", "99TEST", "B"), "B."),
        ),
        findings=(Finding("two  words", True, "C."), Finding("", None, "D.")),
    )
    odd = Reported(content, "1.2.3", (SeriesFacts("1.2.4", "", 1),))

    found = resources(make_fhir_bundle(odd))

    system = "urn:radbus:coding-scheme:99TEST"
    assert [each["code"]["coding"] for each in found["Observation"]] == [
        [{"system": system, "code": "1 2"}],
        [{"display": "B"}],
        [{"system": "urn:radbus:coding-scheme:99RADBUS", "code": "two words", "display": "two words"}],
        [{"display": "not stated"}],
    ]
    assert [each["valueQuantity"].get("code") for each in found["Observation"][:2]] == [None, "mL each"]
    assert found["ImagingStudy"][0]["series"][0]["modality"] == {"display": "not stated"}
    measured = [segment[6] for segment in segments(make_oru_r01(odd)) if segment[:1] == ["OBX"] and segment[2] == "NM"]
    assert measured == ["", "mL each^^UCUM"]


def test_equal_names_of_two_machines_are_two_observations(reported):
    content = reported.content
    twice = replace(content, measurements=content.measurements * 2, findings=content.findings * 2)

    found = resources(make_fhir_bundle(replace(reported, content=twice)))

    assert len({each["id"] for each in found["Observation"]}) == 6


def test_the_device_names_the_other_machines_of_a_report(reported):
    several = replace(reported, content=replace(reported.content, further_machines=("head-ct 1.0.0",)))

    (device,) = resources(make_fhir_bundle(several))["Device"]

    assert [note["text"] for note in device["note"]] == [RESEARCH_USE_ONLY, "Also used: head-ct 1.0.0"]


def test_the_message_has_an_observation_for_all_that_was_said(reported):
    by_name = [segment for segment in segments(make_oru_r01(reported)) if segment[0] == "OBX"]

    assert [segment[1] for segment in by_name] == [str(n) for n in range(1, len(by_name) + 1)]
    assert [segment[2] for segment in by_name] == ["TX", "NM", "CWE", "CWE", "TX", "TX", "TX"]
    assert by_name[1][3:7] == ["right_ml^Right lung: volume^99RADBUS^118565006^Volume^SCT", "2", "1234.5", "mL^^UCUM"]
    assert by_name[3][3] == "118565006^Volume^SCT"
    assert len({(segment[3].split("^")[0], segment[4]) for segment in by_name}) == len(by_name)
    assert {segment[11] for segment in by_name} == {"P"}
    assert by_name[-1][5] == "1.2.3"


def test_what_is_a_separator_in_hl7_cannot_break_the_message(reported):
    found = segments(make_oru_r01(reported))

    (patient,) = (segment for segment in found if segment[0] == "PID")
    (summary, *_) = (segment for segment in found if segment[0] == "OBX")
    assert patient[3] == r"A\F\1\S\2"
    assert patient[5] == "Müller^Anna^B^^Dr"
    assert summary[5] == r"One line and \F\ another."


@pytest.mark.parametrize(
    ("value", "written"),
    [(1234567.8, "1234567.8"), (0.00001234, "0.00001234"), (1e22, "1" + 22 * "0"), (-12.0, "-12"), (0.0, "0")],
)
def test_numbers_keep_their_digits_and_have_no_exponent(reported, value, written):
    (measurement,) = reported.content.measurements
    content = replace(reported.content, measurements=(replace(measurement, value=value),))

    found = segments(make_oru_r01(replace(reported, content=content)))

    assert [segment[5] for segment in found if segment[:1] == ["OBX"] and segment[2] == "NM"] == [written]


@pytest.mark.parametrize("control", ["\x00", "\x0b", "\x1b", "\x1c", "\x7f", "\x85"])
def test_control_characters_do_not_pass_and_every_segment_ends(reported, control):
    patient = replace(PATIENT, patient_name=f"Do{control}e^A", patient_id=f"1{control}2")
    content = replace(reported.content, patient=patient, summary=f"One{control}line.")

    message = make_oru_r01(replace(reported, content=content)).decode()

    assert control not in message
    assert message.endswith("|1.2.3||||||P\r")
    assert "One line." in message


def test_made_again_they_are_the_same(reported):
    assert make_fhir_bundle(reported) == make_fhir_bundle(reported)
    assert make_oru_r01(reported) == make_oru_r01(reported)
