"""What readers of results and inferences see."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from radbus_contracts.facts import TriageStatus
from radbus_results.domain.inference import Inference, Model
from radbus_results.handlers.inferences import InferenceQuery
from radbus_results.handlers.rendering import inference_body, patient_inference_body, rendered, result_body

STUDY, SERIES = "1.2", "1.2.3"
T0 = datetime(2026, 1, 1, 12, 30, 15, 123000, tzinfo=UTC)
INFERENCE = Inference(
    id="i1",
    institution="site-a",
    job_id="j1",
    model=Model("m1", "lung-ct", "1.0.0"),
    models=(),
    use_case="qct",
    version=1,
    title="Chest CT",
    study_instance_uid=STUDY,
    study_date="20260101",
    series_instance_uids=(SERIES,),
    subject_uid=SERIES,
    revision=1,
    requested_at=T0,
    completed_at=T0,
    inputs={"patient_sex": {STUDY: "F"}},
    outputs={"emphysema_index": {STUDY: {SERIES: 3.0}}},
    arrays={"lungs_segmentation_array": "site-a/lungs.npz"},
    values={"lungs": {"emphysema_index": 3.0}, "report": {}},
    summary="Both lungs are well aerated.",
    usable=True,
    measurements=(),
    findings=(),
    limits=("Slices are thick.",),
    files={"sc_png": ("site-a/1.png",), "pdf": ("site-a/report.pdf",), "seg": ("site-a/lungs.dcm",)},
    triage=TriageStatus.ROUTINE,
    triage_reason=None,
)


def sign(key: str) -> str:
    return f"https://objects/{key}?signed"


def test_files_are_urls_under_every_name_that_clients_know_and_empty_kinds_are_absent():
    inferences = [INFERENCE]

    body = result_body(inferences, failed=(), under_process=0, sign=sign)

    files = body.result.files
    assert files["sc_png"] == files["sc_key_slices"] == ["https://objects/site-a/1.png?signed"]
    assert files["reports"] == files["pdf"] == ["https://objects/site-a/report.pdf?signed"]
    assert set(files) == {"sc_png", "sc_key_slices", "reports", "pdf", "seg"}


def test_the_result_has_exactly_the_words_that_clients_compare():
    inferences = [replace(INFERENCE, triage=TriageStatus.CRITICAL)]

    body = result_body(inferences, failed=(), under_process=0, sign=sign)

    assert body.triage_status == "Critical"
    assert (body.usecase, body.success, body.report) == ("qct", True, [])
    assert body.message == "Results retrieved successfully!"


def test_images_that_cannot_be_judged_are_of_no_use_case():
    inferences = [replace(INFERENCE, usable=False, summary="No lungs were found.")]

    body = result_body(inferences, failed=(), under_process=0, sign=sign)

    assert body.usecase == "not_implemented"
    assert body.result.report == "No lungs were found."


def test_findings_and_impression_are_told_apart_where_the_machine_does():
    finding = {"name": "enlarged_heart", "present": False, "text": "The ratio is 0.45."}
    inferences = [replace(INFERENCE, impression="Not enlarged.", summary="PA view. Not enlarged.", findings=(finding,))]

    body = result_body(inferences, failed=(), under_process=0, sign=sign)

    assert body.model_dump(mode="json")["result"]["report"] == {
        "findings": "The ratio is 0.45.",
        "impression": "Not enlarged.",
        "findings_list": [["enlarged_heart", "The ratio is 0.45."]],
    }


def test_the_inference_object_has_a_file_a_series_and_the_array_as_a_url():
    archives = {SERIES: "site-a/archives/a.zip"}

    body = inference_body(INFERENCE, archives=archives, sign=sign)

    assert body.study.files[0].url == "https://objects/site-a/archives/a.zip?signed"
    assert body.outputs["lungs_segmentation_array"] == {STUDY: {SERIES: "https://objects/site-a/lungs.npz?signed"}}
    assert body.outputs["emphysema_index"] == {STUDY: {SERIES: 3.0}}
    assert (body.model.name, body.model.version, body.study.date) == ("lung-ct", "1.0.0", "20260101")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "yesterday"])
def test_a_time_outside_the_calendar_is_refused(time: str):
    with pytest.raises(ValidationError, match=r"since"):
        InferenceQuery.model_validate({"since": time})


def test_a_query_takes_triage_in_any_case_and_times_without_a_zone_as_utc():
    asked = {"triage": "Critical", "since": "2026-01-01T00:00:00", "files": "true", "limit": 400}

    query = InferenceQuery.model_validate(asked)

    assert query.search.triage is TriageStatus.CRITICAL
    assert query.search.since == datetime(2026, 1, 1, tzinfo=UTC)
    assert query.page_size == 10


def test_numbers_are_scores_and_what_was_judged_is_a_decision_each_by_one_name():
    values = {
        "lungs": {"emphysema_index": 3, "effusion": False, "side": "left"},
        "bones": {"emphysema_index": 0.5, "fracture": True},
    }
    findings = (
        {"name": "nodule", "present": True},
        {"name": "mass", "present": None},
        {"name": "effusion", "present": True},
    )
    inferences = [replace(INFERENCE, values=values, findings=findings)]

    result = result_body(inferences, failed=(), under_process=0, sign=sign).result

    assert result.scores == {"lungs_emphysema_index": 3, "bones_emphysema_index": 0.5}
    assert result.decisions == {"nodule": True, "effusion": False, "fracture": True}


def test_a_result_without_numbers_or_decisions_has_no_words_for_them():
    inferences = [replace(INFERENCE, values={"lungs": {"side": "left"}})]

    body = result_body(inferences, failed=(), under_process=0, sign=sign)

    assert {"scores", "decisions"}.isdisjoint(body.model_dump(mode="json", exclude_none=True)["result"])


def test_the_inference_api_is_told_nothing_beside_what_it_names():
    archives = {SERIES: "site-a/archives/a.zip"}

    body = patient_inference_body(INFERENCE, archives=archives, sign=sign).model_dump()

    assert set(body) == {"model", "study", "inputs", "outputs"}
    assert body["model"] == {"name": "lung-ct", "version": "1.0.0"}
    assert set(body["study"]) == {"date", "files"}


async def test_an_answer_is_made_off_the_event_loop_with_each_key_signed_once():
    signed: list[tuple[str, bool]] = []

    def sign_here(key: str) -> str:
        signed.append((key, threading.current_thread() is threading.main_thread()))
        return key

    await rendered(
        lambda sign_once: [inference_body(INFERENCE, archives={}, sign=sign_once) for _ in range(2)], sign_here
    )

    assert {key for key, _ in signed} == {"site-a/1.png", "site-a/report.pdf", "site-a/lungs.dcm", "site-a/lungs.npz"}
    assert len(signed) == 4
    assert not any(on_the_loop for _, on_the_loop in signed)
