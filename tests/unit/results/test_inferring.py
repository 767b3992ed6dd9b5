"""What the outcomes of a job's tasks come to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from radbus_contracts import identity
from radbus_contracts.facts import JobCompletedV1, TaskOutcome, TriageStatus
from radbus_results.domain.inference import Context, Inference, Outcome
from radbus_results.domain.inferring import NoOutcomeError, infer_from

STUDY, SERIES = "1.2", "1.2.3"
T0 = datetime(2026, 1, 1, tzinfo=UTC)
CONTEXT = Context("site-a", completed_at=T0, requested_at=T0, title="Chest CT", study_date="20260101")
LUNG_CT = {"name": "lung-ct", "version": "1.0.0", "title": "Lung CT", "weights_sha256": "abc"}
REPORT = Outcome(
    task_id="report",
    machine={"name": "report", "version": "1.0.0"},
    summary="Both lungs are well aerated.",
    files={"pdf": ("k/report.pdf",)},
)


def lungs(**given: object) -> Outcome:
    fields = {
        "summary": "Both lungs are well aerated.",
        "values": {"emphysema_index": 3.0, "total_lung_volume_ml": 5000},
        "files": {"seg": ("k/lungs.dcm",), "npz": ("k/labels-lungs.npz",), "sc_png": ("k/1.png", "k/2.png")},
        **given,
    }
    return Outcome(task_id="lungs", machine=LUNG_CT, **fields)  # type: ignore[arg-type]


def infer(*outcomes: Outcome, **given: object) -> Inference:
    fields = {
        "job_id": "j1",
        "use_case": "qct",
        "use_case_version": 1,
        "study_instance_uid": STUDY,
        "series_instance_uids": (SERIES,),
        "subject_uid": SERIES,
        "revision": 1,
        "outcomes": tuple(TaskOutcome(task_id=each.task_id, outcome_id=f"j1/{each.task_id}/1") for each in outcomes),
        "critical_when": "lungs.emphysema_index > 25.0",
        **given,
    }
    return infer_from(JobCompletedV1(**fields), outcomes, CONTEXT)  # type: ignore[arg-type]


def test_the_inference_has_the_one_id_of_its_job():
    outcomes = [lungs(), REPORT]

    inference = infer(*outcomes)

    assert inference.id == identity.inference_id("j1")


def test_a_report_that_repeats_the_summary_does_not_double_it():
    outcomes = [lungs(), REPORT]

    inference = infer(*outcomes)

    assert inference.summary == "Both lungs are well aerated."


def test_the_change_since_the_previous_result_is_in_the_report_and_in_the_record():
    compared = {"previous": {"study_date": "20250101"}, "summary": "Compared with 2025-01-01: +1 mL."}
    nothing = {"previous": None, "summary": "No earlier result."}

    inference, alone = infer(lungs(comparison=compared), REPORT), infer(lungs(comparison=nothing), REPORT)

    assert inference.summary == "Both lungs are well aerated. Compared with 2025-01-01: +1 mL."
    assert inference.comparisons == (compared,)
    assert (alone.summary, alone.comparisons) == ("Both lungs are well aerated.", (nothing,))


def test_the_model_is_the_machine_that_judged_the_images_and_not_the_report():
    outcomes = [REPORT, lungs()]

    inference = infer(*outcomes)

    assert (inference.model.name, inference.model.version) == ("lung-ct", "1.0.0")
    assert {each.name for each in inference.models} == {"lung-ct", "report"}


def test_the_id_of_a_model_stays_the_same_over_its_versions():
    newer = Outcome(task_id="lungs", machine={**LUNG_CT, "version": "2.0.0"}, values={"emphysema_index": 1})

    first, second = infer(lungs()), infer(newer)

    assert first.model.id == second.model.id == identity.model_id("qct", "lung-ct")
    assert first.model.version != second.model.version


def test_values_of_a_series_sit_at_the_level_of_the_series():
    outcomes = [lungs(), REPORT]

    inference = infer(*outcomes)

    assert inference.outputs["emphysema_index"] == {STUDY: {SERIES: 3.0}}
    assert inference.arrays == {"lungs_segmentation_array": "k/labels-lungs.npz"}


def test_values_of_a_study_sit_at_the_level_of_the_study():
    outcome = lungs()

    inference = infer(outcome, subject_uid=STUDY, series_instance_uids=(SERIES, "1.2.4"))

    assert inference.outputs["emphysema_index"] == {STUDY: 3.0}
    assert inference.series_of_arrays is None


def test_values_of_one_name_from_two_tasks_keep_the_names_of_their_tasks():
    other = Outcome(task_id="nodules", machine={"name": "n"}, values={"emphysema_index": 7})

    inference = infer(lungs(), other)

    assert inference.outputs["lungs_emphysema_index"] == {STUDY: {SERIES: 3.0}}
    assert inference.outputs["nodules_emphysema_index"] == {STUDY: {SERIES: 7}}


def test_the_inputs_of_all_tasks_are_merged_level_by_level():
    first = lungs(inputs={"patient_sex": {STUDY: "F"}, "pixel_spacing": {STUDY: {SERIES: [1, 1]}}})
    second = Outcome(task_id="b", machine={}, inputs={"pixel_spacing": {STUDY: {"1.2.4": [2, 2]}}})

    inference = infer(first, second)

    assert inference.inputs["patient_sex"] == {STUDY: "F"}
    assert inference.inputs["pixel_spacing"] == {STUDY: {SERIES: [1, 1], "1.2.4": [2, 2]}}


def test_files_of_all_tasks_are_gathered_by_kind():
    outcomes = [lungs(), REPORT]

    inference = infer(*outcomes)

    assert inference.files["sc_png"] == ("k/1.png", "k/2.png")
    assert inference.files["pdf"] == ("k/report.pdf",)


@pytest.mark.parametrize(("index", "status"), [(25.1, TriageStatus.CRITICAL), (25.0, TriageStatus.ROUTINE)])
def test_the_condition_of_the_use_case_makes_the_triage(index: float, status: TriageStatus):
    outcome = lungs(values={"emphysema_index": index})

    inference = infer(outcome)

    assert (inference.triage, inference.triage_reason) == (status, None)


def test_an_absent_value_makes_the_triage_routine_and_says_that_it_was_not_judged():
    outcome = lungs(values={"total_lung_volume_ml": 5000})

    inference = infer(outcome)

    assert inference.triage is TriageStatus.ROUTINE
    assert inference.triage_reason == "not judged: emphysema_index is absent"


def test_a_condition_that_is_none_does_not_lose_the_result():
    outcome = lungs()

    inference = infer(outcome, critical_when="lungs.emphysema_index >")

    assert inference.triage is TriageStatus.ROUTINE
    assert inference.triage_reason is not None


def test_a_use_case_without_a_condition_is_routine():
    outcome = lungs()

    inference = infer(outcome, critical_when=None)

    assert (inference.triage, inference.triage_reason) == (TriageStatus.ROUTINE, None)


def test_images_that_cannot_be_judged_are_said_so_although_the_report_was_made():
    unusable = lungs(usable=False, summary="No lungs were found.", values={"emphysema_index": 99.0})

    inference = infer(unusable, REPORT)

    assert not inference.usable
    assert inference.summary == "No lungs were found."
    assert inference.triage is TriageStatus.ROUTINE
    assert inference.outputs == {}


def test_what_one_of_two_tasks_cannot_judge_is_a_limit_of_the_result():
    unusable = Outcome(task_id="nodules", machine={}, summary="Slices are too thick.", usable=False)

    inference = infer(lungs(), unusable)

    assert inference.usable
    assert inference.summary == "Both lungs are well aerated."
    assert inference.limits == ("Slices are too thick.",)


def test_a_job_without_outcomes_is_refused_with_a_reason():
    outcomes: list[Outcome] = []

    with pytest.raises(NoOutcomeError, match="expected at least one outcome"):
        infer(*outcomes)
