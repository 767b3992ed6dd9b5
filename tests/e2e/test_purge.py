"""A study through the whole of radbus, its purge by the operator's command, and the same study once more."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from radbus_storage.objects import ObjectStore
from radbus_testing.programs import settings_of
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack
RADBUS = Path(sys.executable).parent / "radbus"


@pytest.fixture
def command(hospital) -> Callable[..., dict[str, Any]]:
    """Run the command as an operator, and read what it prints."""

    def run(*arguments: str, status: int = 0) -> dict[str, Any]:
        environment = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "RADBUS_STACK_ROOT": str(hospital.stack.layout.root),
            "RADBUS_STACK_BASE_PORT": str(hospital.stack.layout.base_port),
        }
        done = subprocess.run(
            [str(RADBUS), *arguments, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout or "{}")

    return run


@pytest.fixture
def purge(hospital, command) -> Callable[..., dict[str, Any]]:
    """Purge a study of the hospital until it is done: the news of its end may still be on their way."""

    def run(study: str, what: str) -> dict[str, Any]:
        named = ("purge", "--institution", hospital.institution, "--study", study, what)

        def at_rest() -> bool:
            [meant] = command(*named, "--dry-run")["would_erase"]
            return meant["waits_for"] is None

        eventually(at_rest, timeout_s=60, what="study at rest")
        [done] = command(*named, "--yes")["purges"]
        assert done["state"] == "finished"
        return done

    return run


@pytest.fixture
def keys(hospital) -> Callable[[], list[str]]:
    """List the objects of the hospital."""

    def read() -> list[str]:
        store = ObjectStore(settings_of(hospital.stack.environment()).objects)

        async def listed() -> list[str]:
            return await store.keys(f"{hospital.institution}/", limit=10_000)

        try:
            return asyncio.run(listed())
        finally:
            store.close()

    return read


def test_a_purged_study_is_unknown_everywhere_and_sent_again_it_is_computed_anew(
    hospital, make_series, command, purge, keys
):
    series, neighbour = make_series(), make_series()
    for each in (series, neighbour):
        hospital.upload(each.instances)
        hospital.result(each.uid)
    [inference] = [
        each for each in hospital.get("/inferences").json() if each["study"]["study_instance_uid"] == series.study
    ]
    job = inference["job"]
    hospital.get(f"/inferences/{inference['id']}")  # makes an archive of the series
    stored = [key for key in keys() if series.uid in key or job in key]

    outputs = purge(series.study, "--outputs")
    erased = hospital.get(f"/inferences/{inference['id']}")
    of_erased = hospital.results(series.uid)
    everything = purge(series.study, "--everything")

    assert outputs["counts"]["outputs"] > 5
    assert (erased.status_code, of_erased.status_code) == (410, 410)
    assert "were erased on" in erased.json()["message"]
    assert of_erased.json()["success"] is False
    assert everything["counts"]["instances"] == len(series.instances)
    assert len(stored) > len(series.instances)
    assert not [key for key in keys() if series.uid in key or series.study in key or job in key]
    for path in (
        f"/results/{series.uid}",
        f"/results/{series.study}",
        f"/inferences/{inference['id']}",
        f"/jobs/{job}",
    ):
        assert hospital.get(path).status_code == 404, path
    assert hospital.results(neighbour.uid).status_code == 200
    command("purge", "--institution", hospital.institution, "--study", series.study, "--everything", "--yes", status=1)

    again = hospital.upload(series.instances)
    result = hospital.result(series.uid)

    assert all(message["created"] for message in again["messages"].values())
    assert result.status_code == 200
    assert result.json()["result"]["values"]["lungs"]["right_lung_volume_ml"] > 0


def test_erased_inputs_leave_the_result_and_sent_again_they_are_the_next_revision(hospital, make_series, purge, keys):
    series = make_series()
    hospital.upload(series.instances)
    first = hospital.result(series.uid).json()["result"]["inference_id"]

    purge(series.study, "--inputs")
    kept = hospital.results(series.uid)
    instances = [key for key in keys() if "/instances/" in key]
    hospital.upload(series.instances)

    def next_one() -> dict[str, Any] | None:
        answer = hospital.results(series.uid)
        found = answer.json()["result"]["inference_id"] if answer.status_code == 200 else first
        return None if found == first else answer.json()

    assert kept.status_code == 200
    assert instances == []
    assert eventually(next_one, timeout_s=60, what="result of the next revision")["usecase"] == "qct"
    assert hospital.get(f"/inferences/{first}").json()["superseded_by"] is not None


def test_nothing_is_erased_without_yes_nor_of_another_institution(hospitals, make_series, command):
    ours, theirs = hospitals(), hospitals()
    series = make_series()
    theirs.upload(series.instances)
    theirs.result(series.uid)

    command("purge", "--institution", ours.institution, "--study", series.study, "--everything", "--yes", status=1)
    command("purge", "--institution", theirs.institution, "--study", series.study, "--everything", status=1)

    assert theirs.results(series.uid).status_code == 200
