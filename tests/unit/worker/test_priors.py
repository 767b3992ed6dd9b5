"""The result that is compared with is the latest that was really earlier, of the same person, and comparable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from radbus_dicom.derived.comparison import NOTHING_EARLIER
from radbus_worker.domain.priors import Candidate, Current, choose, previous_of, remarks_on
from radbus_worker.domain.results import LEFT_OUT

THEN = datetime(2026, 3, 1, tzinfo=UTC)
HEADER = {"PatientBirthDate": "19600101", "PatientSex": "F", "ConvolutionKernel": "B30f", "SliceThickness": 1}
CURRENT = Current("1.9", HEADER | {"StudyDate": "20260201", "StudyTime": "101500"}, "lung-ct", "1.2.0")


def candidate(name: str = "a", **changes) -> Candidate:
    fields = {
        "inference_id": name,
        "job_id": f"job-{name}",
        "study_instance_uid": "1.1",
        "series_instance_uids": ("1.1.1",),
        "study_date": "20260101",
        "study_time": "090000",
        "completed_at": THEN,
        "machines": {"lung-ct": "1.2.0", "report": "1.0.0"},
        "elements": HEADER,
    }
    return Candidate(**(fields | changes))


def test_the_latest_study_before_counts_whatever_arrived_last():
    older = candidate("older", study_date="20250101", completed_at=THEN + timedelta(days=9))
    newer = candidate("newer", study_date="20260131", completed_at=THEN)

    assert choose([older, newer], CURRENT) == newer


@pytest.mark.parametrize(
    "changes",
    [
        {"study_instance_uid": "1.9"},
        {"study_date": "20260202"},
        {"study_date": "20260201", "study_time": "101500"},
        {"study_date": "20260201", "study_time": "101501"},
        {"study_date": "20260201", "study_time": "10"},
        {"study_date": "20260201", "study_time": ""},
        {"study_date": ""},
        {"study_date": "19700000"},
        {"study_date": "2026.01.01"},
    ],
)
def test_what_is_not_surely_earlier_is_not_compared_with(changes):
    assert choose([candidate(**changes)], CURRENT) == NOTHING_EARLIER


@pytest.mark.parametrize("time", ["101459", "1014", "09", "101459.99"])
def test_a_study_of_the_same_day_is_earlier_by_its_time(time):
    earlier = candidate(study_date="20260201", study_time=time)

    assert choose([earlier], CURRENT) == earlier
    assert previous_of(earlier, CURRENT).days_between == 0


def test_a_study_without_a_date_is_compared_with_nothing():
    undated = replace(CURRENT, elements=HEADER)

    assert choose([candidate()], undated) == NOTHING_EARLIER


@pytest.mark.parametrize("changed", [{"PatientBirthDate": "19610101"}, {"PatientSex": "M"}])
def test_an_id_that_another_person_has_too_gives_no_comparison_and_says_so(changed):
    chosen = choose([candidate(elements=HEADER | changed)], CURRENT)

    assert isinstance(chosen, str)
    assert "another" in chosen


def test_a_header_that_was_erased_contradicts_nothing():
    assert choose([candidate(elements={})], CURRENT) == candidate(elements={})
    assert [*remarks_on(candidate(elements={}), CURRENT)] == []


def test_another_major_version_is_not_compared_with_and_an_older_comparable_one_is():
    other = candidate("other", study_date="20260131", machines={"lung-ct": "2.0.0"})
    same = candidate("same", study_date="20250101", machines={"lung-ct": "1.0.0"})

    assert choose([other, same], CURRENT) == same
    assert "other versions of lung-ct" in str(choose([other], CURRENT))


def test_another_machine_is_not_compared_with():
    assert isinstance(choose([candidate(machines={"head-ct": "1.2.0"})], CURRENT), str)


def test_of_two_series_of_one_study_the_one_acquired_alike_counts():
    sharp = candidate("sharp", elements=HEADER | {"ConvolutionKernel": "B70f"}, completed_at=THEN + timedelta(hours=1))
    soft = candidate("soft")

    assert choose([sharp, soft], CURRENT) == soft


def test_other_versions_and_other_acquisitions_are_said():
    header = HEADER | {"ConvolutionKernel": "B70f", "SliceThickness": 1.0, "ContrastBolusAgent": "Iodine"}
    earlier = candidate(machines={"lung-ct": "1.0.0"}, elements=header)

    said = [*remarks_on(earlier, CURRENT)]

    assert len(said) == 3
    assert "version 1.0.0 of lung-ct, this one of 1.2.0" in said[0]
    assert "kernel differs (then B70f, now B30f)" in said[1]
    assert "contrast agent differs (then Iodine, now none)" in said[2]


def test_a_ratio_of_another_view_is_said_to_be_of_one():
    pa, ap = {**HEADER, "ViewPosition": "PA"}, {**HEADER, "ViewPosition": "AP"}

    (said,) = remarks_on(candidate(elements=ap), replace(CURRENT, elements=pa))

    assert "view differs (then AP, now PA)" in said
    assert not [*remarks_on(candidate(elements=pa), replace(CURRENT, elements=pa))]


def test_what_limits_one_of_both_results_is_said_and_what_limits_both_or_neither_is_not():
    cut, noisy, both = "The lungs are cut off below.", "The images are noisy.", "The slices are thick."
    left_out, never = f"The key slices {LEFT_OUT}", "Not looked for: nodules."
    current = replace(CURRENT, limits=(both, noisy))
    earlier = candidate(limits=(cut, both, never, left_out))

    assert [*remarks_on(earlier, current)] == [
        f"A limit of the previous result: {cut}",
        f"A limit of this result that the previous one has not: {noisy}",
    ]


def test_the_days_between_are_those_of_the_studies():
    previous = previous_of(candidate(), CURRENT)

    assert (previous.days_between, previous.day) == (31, "2026-01-01")
    assert (previous.machine, previous.machine_version) == ("lung-ct", "1.2.0")
