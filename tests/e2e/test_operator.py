"""What an operator does when a study does not come out: see where it hangs, mend it, and let it go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_testing.programs import settings_of
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack


@pytest.fixture
def audited(radbus_command) -> Callable[..., dict[str, Any]]:
    """Audit what one institution has by a UID or id."""

    def run(uid: str) -> dict[str, Any]:
        [found] = json.loads(radbus_command("audit", uid, "--json"))["audits"]
        return found

    return run


def whats(found: dict[str, Any]) -> list[str]:
    return [entry["what"] for entry in found["entries"]]


def texts(found: dict[str, Any]) -> str:
    return " ".join(finding["text"] for finding in found["findings"])


@contextmanager
def healed(hospital) -> Iterator[None]:
    """Let the machine that always fails work for a time."""
    mark = Path(hospital.stack.environment()["RADBUS_MACHINES_DIR"]) / "broken" / "1" / "healed"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()


def test_jobs_that_failed_go_on_when_their_machine_is_healed_and_their_results_are_there(
    radbus_command, audited, hospital, make_sleepy
):
    series = [make_sleepy(1) for _ in range(2)]
    for each in series:
        hospital.upload(each.instances, source="broken")
    assert [hospital.result(each.uid).status_code for each in series] == [500, 500]
    job_ids = {job["id"] for job in hospital.jobs(state="failed")}
    before = audited(series[0].uid)

    radbus_command("jobs", "retry", "--use-case", "broken", status=1)
    with healed(hospital):
        filters = ("--state", "failed", "--use-case", "broken", "--since", "1h")
        told = json.loads(radbus_command("jobs", "retry", *filters, "--yes", "--json"))
        eventually(
            lambda: [hospital.results(each.uid).status_code for each in series] == [206, 206],
            timeout_s=60,
            what="results of the jobs that were retried",
        )
    eventually(lambda: audited(series[0].uid)["findings"] == [], timeout_s=60, what="an audit that finds nothing")
    after = audited(series[0].uid)

    assert {job["id"] for job in told["retried"]} == job_ids
    assert {job["id"] for job in hospital.jobs(state="completed")} == job_ids
    advices = [finding["advice"] or "" for finding in before["findings"]]
    assert any(advice.startswith("radbus jobs retry ") for advice in advices)
    assert "job completed (retried 1 time)" in whats(after)
    radbus_command("jobs", "retry", job_ids.pop(), status=1)


def test_a_job_is_run_once_more_as_a_new_one_whose_result_takes_the_place_of_the_older(
    radbus_command, audited, hospital, make_sleepy
):
    series = make_sleepy(1)
    hospital.upload(series.instances, source="sleepy")
    hospital.result(series.uid)
    [first] = hospital.jobs()

    new = [json.loads(radbus_command("jobs", "rerun", first["id"], "--json"))["rerun"][0]["job_id"] for _ in range(2)]
    eventually(lambda: len(hospital.jobs(state="completed")) == 2, timeout_s=60, what="the second run")
    eventually(lambda: audited(new[0])["findings"] == [], timeout_s=60, what="its result")

    superseded = [entry for entry in audited(series.study)["entries"] if "superseded_by" in entry["ids"]]
    assert new[0] == new[1] != first["id"]
    assert {job["id"] for job in hospital.jobs()} == {first["id"], new[0]}
    assert [entry["ids"]["job"] for entry in superseded] == [first["id"]]


def test_the_audit_says_where_a_series_hangs_and_nothing_of_its_patient(radbus_command, audited, hospital, make_series):
    series = make_series(patient_name="Marked^Name", patient_id="MRN-4711", body_part="KNEE")
    hospital.stack.stop("router")
    try:
        hospital.upload(series.instances)
        stuck = eventually(
            lambda: found if "no routing" in texts(found := audited(series.uid)) else None,
            timeout_s=60,
            what="a series that is not routed",
        )
    finally:
        hospital.stack.start("router")
        hospital.stack.wait_until_ready("router")
    hospital.result(series.uid)
    after = audited(series.study)

    assert "queue router.series-completed has 1 messages and 0 consumers" in texts(stuck)
    assert "no job. No use case matches" in texts(after)
    printed = json.dumps([stuck, after]) + radbus_command("audit", series.uid)
    assert "Marked" not in printed
    assert "MRN-4711" not in printed


def test_the_audit_of_whatever_belongs_to_a_study_finds_it_and_an_object_that_was_lost(
    radbus_command, audited, hospital, make_sleepy
):
    series = make_sleepy(1)
    hospital.upload(series.instances, source="sleepy")
    hospital.result(series.uid)
    [job] = hospital.jobs()
    inference = hospital.get("/inferences").json()[0]["id"]
    lost = asyncio.run(lose_an_object(hospital, series.uid))

    kinds = {uid: audited(uid) for uid in (series.study, series.uid, lost, job["id"], inference)}

    assert [found["kind"] for found in kinds.values()] == ["study", "series", "instance", "job", "inference"]
    assert all("object missing in the store" in texts(kinds[uid]) for uid in (series.study, series.uid, lost))
    assert all(any("inference of sleepy recorded" in what for what in whats(found)) for found in kinds.values())
    radbus_command("audit", series.uid, "--institution", "another", status=1)
    radbus_command("audit", "1.2.3.4.5", status=1)


async def lose_an_object(hospital, series_instance_uid: str) -> str:
    """Erase the bytes of one instance, and return its SOPInstanceUID."""
    settings = settings_of(hospital.stack.environment())
    documents, objects = Documents(settings.documents), ObjectStore(settings.objects)
    where = {"institution": hospital.institution, "series_instance_uid": series_instance_uid}
    instance = await documents[records.INSTANCES].find_one(where)
    await objects.delete(instance["object_key"])
    objects.close()
    documents.close()
    return instance["sop_instance_uid"]
