"""The operator's command against a running stack: what it prints, and its exit status."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]


def test_the_demo_ends_by_itself_with_the_answer_of_the_results_api(radbus_command):
    body = json.loads(radbus_command("demo", "--json", token=False))

    lungs = body["result"]["values"]["lungs"]
    assert body["usecase"] == "qct"
    assert body["triage_status"] == "Routine"
    assert body["success"] is True
    assert 2000 < lungs["right_lung_volume_ml"] < 2800
    assert body["result"]["files"]["seg"][0].startswith("http://127.0.0.1:")


def test_a_result_can_be_asked_for_and_what_is_unknown_is_exit_status_1(radbus_command, hospital, make_series):
    series = make_series()
    hospital.upload(series.instances)
    hospital.result(series.uid)

    printed = radbus_command("results", series.uid)
    told = json.loads(radbus_command("results", series.uid, "--json"))
    radbus_command("results", "1.2.3", status=1)

    assert "Both lungs: volume" in printed
    assert told["usecase"] == "qct"


def test_jobs_are_listed_and_one_can_be_stopped(radbus_command, hospital, make_sleepy):
    hospital.upload(make_sleepy(20_000).instances, source="sleepy")
    eventually(lambda: hospital.jobs(state="active"), timeout_s=20, what="active job")
    listed = json.loads(radbus_command("jobs", "--state", "active", "--json"))["jobs"]

    radbus_command("jobs", "cancel", listed[0]["id"])

    assert "cancelled" in radbus_command("jobs")
    radbus_command("jobs", "cancel", "no-such-job", status=1)


def test_events_are_shown_as_they_pass(radbus_command, hospital, make_series):
    heard = threading.Event()

    def send() -> None:  # until the command listens and has heard one, whenever that is
        while not heard.wait(2):
            hospital.upload(make_series(body_part="KNEE", study_description="CT knee").instances)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        line = radbus_command("events", "tail", "--key", "series.completed.v1", "--count", "1", "--json")
    finally:
        heard.set()
        sending.join()

    assert json.loads(line)["type"] == "radbus.series.completed.v1"


def test_a_token_is_made_that_works(radbus_command, hospital):
    made = json.loads(radbus_command("tokens", "create", "another-hospital", "--name", "pacs", "--json"))

    answer = hospital.http.get(hospital.url("/inferences"), headers={"Authorization": f"Bearer {made['token']}"})
    assert (answer.status_code, answer.json()) == (200, [])


def test_the_doctor_finds_a_whole_stack_well_and_a_service_that_is_down_amiss(radbus_command, hospital):
    well = json.loads(radbus_command("doctor", "--json"))
    hospital.stack.stop("router")
    try:
        amiss = json.loads(radbus_command("doctor", "--json", status=1))
    finally:
        hospital.stack.start("router")
        hospital.stack.wait_until_ready("router")

    services = [
        each for name in ("ingest", "router", "scheduler", "results") for each in hospital.stack.replicas_of(name)
    ]
    assert {"front", *services, "worker-0", "worker-1"} <= {each["name"] for each in well}
    assert [each["name"] for each in amiss if not each["well"]] == [*hospital.stack.replicas_of("router")]


def test_use_cases_are_checked_with_every_fault(radbus_command, tmp_path):
    (tmp_path / "bad.yaml").write_text("use_case: bad\nversion: 0\nwhen: {x: 'series.Modality =='}\n")

    assert "qct" in radbus_command("use-cases", "check", str(ROOT / "services" / "router" / "use_cases"))
    radbus_command("use-cases", "check", str(tmp_path), status=1)
