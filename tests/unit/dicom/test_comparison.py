"""A change is said alike in numbers and words, in every output; what cannot be paired is left out."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
from io import BytesIO

import highdicom as hd
import pytest
from hl7apy.parser import parse_message
from radbus_dicom.derived.comparison import (
    NOTHING_EARLIER,
    Change,
    Comparison,
    Previous,
    changes_between,
    comparison_of,
)
from radbus_dicom.derived.fhir import make_fhir_bundle
from radbus_dicom.derived.hl7 import make_oru_r01
from radbus_dicom.derived.measurement_report import make_measurement_report
from radbus_dicom.derived.report_pdf import PatientFacts, ReportContent, make_report_pdf
from radbus_dicom.derived.reported import Reported, SeriesFacts
from radbus_dicom.opening import read_header_dataset
from radbus_machines.types import Code, MachineOutput, Measurement, Site

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

VOLUME, INDEX = Code("118565006", "SCT", "Volume"), Code("LAA-950", "99RADBUS", "Low attenuation")
OFFSET = "128740"  # DCM: Longitudinal Temporal Offset from Event
TIME_POINT = "C2348792"  # UMLS: TID 1502
NOW = (
    Measurement("volume_ml", "Both lungs: volume", 4435.0, "mL", VOLUME, "Counted."),
    Measurement("index", "Both lungs: emphysema index", 12.5, "%", INDEX, "Counted."),
    Measurement("new_ml", "Something new", 1.0, "mL", VOLUME, "Counted."),
)
BEFORE = [asdict(replace(NOW[0], value=4000.0)), asdict(replace(NOW[1], value=10.0))]
PREVIOUS = Previous("inference", "job", "1.2.8", ("1.2.8.1",), "20250102", 365, "lung-ct", "1.0.0")
COMPARED = Comparison(PREVIOUS, tuple(changes_between(NOW, BEFORE)), ("The kernel differs.",))


def change(now: float, before: float, unit: str = "mL") -> Change:
    return Change("x", "X", unit, VOLUME, now, before)


def reported(provenance, *comparisons: Comparison) -> Reported:
    facts = PatientFacts(patient_name="A^B", patient_id="P", study_date="20260102")
    content = ReportContent("Chest CT", facts, "Fine.", provenance, measurements=NOW, comparisons=comparisons)
    return Reported(content, "1.2.3", (SeriesFacts("1.2.4", "CT", 12),))


@pytest.mark.parametrize(
    ("now", "before", "unit", "words"),
    [
        (4435.0, 4000.0, "mL", "+435 mL (+10.9 %)"),
        (3.0, 4.0, "mL", "-1 mL (-25 %)"),
        (4.0, 4.0, "mL", "0 mL (0 %)"),
        (4.0, 0.0, "mL", "+4 mL"),
        (0.3, 0.1, "mm", "+0.2 mm (+200 %)"),
        (12.5, 10.0, "%", "+2.5 percentage points"),
        (-851.0, -840.0, "[hnsf'U]", "-11 HU"),
    ],
)
def test_a_change_is_said_with_its_sign_and_in_percent_only_where_that_says_something(now, before, unit, words):
    assert change(now, before, unit).words == words


def test_measurements_are_paired_by_name_unit_and_code_and_only_those_that_are_comparable():
    moved = [*BEFORE, asdict(replace(NOW[2], unit="L"))]

    assert [each.name for each in changes_between(NOW, moved)] == ["volume_ml", "index"]
    assert [each.name for each in changes_between(NOW, moved, names=["index"])] == ["index"]
    assert [*changes_between(NOW, [*BEFORE, BEFORE[0]], names=["volume_ml"])] == []


def test_a_comparison_is_the_same_when_it_was_written_and_read():
    document = json.loads(json.dumps(COMPARED.as_json()))

    assert comparison_of(document) == COMPARED
    assert comparison_of(Comparison(None, remarks=(NOTHING_EARLIER,)).as_json()).summary == NOTHING_EARLIER
    assert document["changes"][0]["percent"] == 10.9
    assert document["summary"].startswith("Compared with 2025-01-02 (365 days before): Both lungs: volume 4000 to 4435")


def test_the_page_has_the_previous_values_their_date_and_the_changes(provenance, text_of):
    text = text_of(make_report_pdf(reported(provenance, COMPARED).content))

    assert "2025-01-02" in text
    assert "+435 mL (+10.9" in text
    assert "365 days before, by lung-ct 1.0.0" in text
    assert "The kernel differs." in text


def test_the_page_says_that_there_was_nothing_to_compare_with(provenance, text_of):
    nothing = Comparison(None, remarks=(NOTHING_EARLIER,))

    text = text_of(make_report_pdf(reported(provenance, nothing).content))

    assert NOTHING_EARLIER in text
    assert "Change" not in text


def test_fhir_has_an_observation_of_each_change_that_names_both_studies(provenance):
    bundle = json.loads(make_fhir_bundle(reported(provenance, COMPARED)))
    resources = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}

    changed = [each for each in resources.values() if "component" in each]
    studies = [resources[each["reference"]] for each in changed[0]["derivedFrom"]]
    (report,) = (each for each in resources.values() if each["resourceType"] == "DiagnosticReport")

    assert [each["valueQuantity"]["value"] for each in changed] == [435, 2.5]
    assert [each["valueQuantity"]["value"] for each in changed[0]["component"]] == [4000, 10.9, 365]
    assert [each["identifier"][0]["value"] for each in studies] == ["urn:oid:1.2.3", "urn:oid:1.2.8"]
    assert studies[1]["started"] == "2025-01-02"
    assert COMPARED.summary in report["conclusion"]
    assert len(report["result"]) == len(NOW) + 2


def test_the_change_in_fhir_is_of_the_part_of_the_body_that_was_measured(provenance):
    right = Site(Code("39607008", "SCT", "Lung"), Code("24028007", "SCT", "Right"))
    told = reported(provenance, COMPARED)
    sided = replace(told, content=replace(told.content, measurements=(replace(NOW[0], site=right), *NOW[1:])))

    bundle = json.loads(make_fhir_bundle(sided))

    changed = [entry["resource"] for entry in bundle["entry"] if "component" in entry["resource"]]
    assert [each.get("bodySite", {}).get("text") for each in changed] == ["Lung, right", None]


def test_hl7_gives_the_uid_of_the_study_by_one_code_and_that_of_the_previous_by_another(provenance):
    content = make_oru_r01(reported(provenance, COMPARED)).decode()

    fields = [line.split("|") for line in content.split("\r") if line.startswith("OBX")]
    assert [each[5] for each in fields if each[3].startswith("110180^")] == ["1.2.3"]
    assert [each[5] for each in fields if each[3].startswith("PREVIOUS-STUDY^")] == ["1.2.8"]


def test_hl7_has_the_comparison_in_words_and_each_change_as_a_number(provenance):
    content = make_oru_r01(reported(provenance, COMPARED)).decode()
    fields = [line.split("|") for line in content.split("\r") if line.startswith("OBX")]

    assert parse_message(content).msh.msh_9.value == "ORU^R01^ORU_R01"
    assert [each[5] for each in fields if each[3].startswith("18834-2")] == [COMPARED.summary]
    assert [(each[5], each[6]) for each in fields if each[3].startswith("CHANGE")] == [
        ("435", "mL^^UCUM"),
        ("2.5", "%^^UCUM"),
    ]


def sr_of(write_series, load_volume, provenance, comparison=COMPARED, measurements=NOW):
    paths = write_series([(0, 0, z) for z in range(3)])
    return make_measurement_report(
        MachineOutput("Fine.", measurements=measurements),
        sources=[read_header_dataset(path) for path in paths],
        frames=load_volume(paths).frames,
        segmentations=[],
        provenance=provenance,
        comparison=comparison,
    )


def groups_by_words(sr):
    stream = BytesIO()
    sr.save_as(stream, enforce_file_format=True)
    groups = hd.sr.srread(BytesIO(stream.getvalue())).content.get_image_measurement_groups()
    return {str(group.tracking_identifier): group for group in groups}


def test_the_sr_has_the_earlier_values_at_their_own_time_point_and_is_valid(
    write_series, load_volume, provenance, dciodvfy, tmp_path
):
    target = tmp_path / "sr.dcm"
    sr_of(write_series, load_volume, provenance).save_as(target, enforce_file_format=True)

    said = subprocess.run([dciodvfy, str(target)], capture_output=True, text=True, check=False).stderr
    groups = hd.sr.srread(BytesIO(target.read_bytes())).content.get_image_measurement_groups()
    points = {str(item.value) for group in groups for item in _all(group) if item.name.value == TIME_POINT}
    values = {
        group.tracking_identifier: [float(each.value) for each in group.get_measurements() if each.name.value != OFFSET]
        for group in groups
    }

    assert [line for line in said.splitlines() if line.startswith("Error")] == []
    assert points == {"2025-01-02"}
    assert values["Both lungs: volume, 2025-01-02"] == [4000.0]
    assert values["Both lungs: volume, change since 2025-01-02"] == [435.0, 10.9]


def test_what_was_before_and_its_change_are_found_at_the_place_of_what_is_now(write_series, load_volume, provenance):
    right = Site(Code("39607008", "SCT", "Lung"), Code("24028007", "SCT", "Right"))
    now = (replace(NOW[0], site=right), *NOW[1:])

    groups = groups_by_words(sr_of(write_series, load_volume, provenance, measurements=now))

    for words in ("", ", 2025-01-02", ", change since 2025-01-02"):
        (site,) = groups[f"Both lungs: volume{words}"].finding_sites
        assert (site.value.value, site.laterality.value) == ("39607008", "24028007")


def test_a_relative_change_has_another_concept_than_percentage_points(write_series, load_volume, provenance):
    groups = groups_by_words(sr_of(write_series, load_volume, provenance))

    changed = [
        (each.name.value, float(each.value), each.unit.value)
        for title in ("Both lungs: volume", "Both lungs: emphysema index")
        for each in groups[f"{title}, change since 2025-01-02"].get_measurements()
    ]
    assert changed == [("CHANGE", 435.0, "mL"), ("CHANGE-RELATIVE", 10.9, "%"), ("CHANGE", 2.5, "%")]


def test_a_long_comparison_is_in_the_sr_to_its_last_remark(write_series, load_volume, provenance):
    remarks = tuple(f"The remark of number {number} is a long one." for number in range(60))

    sr = sr_of(write_series, load_volume, provenance, replace(COMPARED, remarks=remarks))

    said = [item.TextValue for item in sr.ContentSequence if item.name.value == "18834-2"]
    assert " ".join(said) == replace(COMPARED, remarks=remarks).summary
    assert max(map(len, said)) <= 1024


def test_every_group_of_the_sr_names_the_algorithm_and_how_it_was_run(write_series, load_volume, provenance):
    earlier = replace(COMPARED, previous=replace(PREVIOUS, machine_version="0.9.0"))
    sr = sr_of(write_series, load_volume, provenance, earlier)

    (imaging,) = (item for item in sr.ContentSequence if item.name.meaning == "Imaging Measurements")
    for group in imaging.ContentSequence:
        said = {item.name.meaning: item for item in group.ContentSequence}
        parameters = [i.TextValue for i in group.ContentSequence if i.name.meaning == "Algorithm Parameters"]
        assert said["Algorithm Name"].TextValue == provenance.machine
        previous = said["Tracking Identifier"].TextValue.endswith(f", {PREVIOUS.day}")
        version, job = ("0.9.0", PREVIOUS.job_id) if previous else (provenance.machine_version, provenance.job_id)
        assert said["Algorithm Version"].TextValue == version
        assert f"job={job}" in parameters


def _all(items):
    for item in items:
        yield item
        yield from _all(getattr(item, "ContentSequence", []))
