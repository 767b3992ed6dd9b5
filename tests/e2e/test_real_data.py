"""Real studies, and everything that is malformed, at once."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pydicom
import pytest

pytestmark = pytest.mark.stack
BATCH = 40


def radbus(hospital, *arguments: str, status: int = 0) -> str:
    environment = {
        "PATH": "/usr/bin:/bin",
        "RADBUS_TOKEN": hospital.token,
        "RADBUS_URL": hospital.url("/"),
    }
    done = subprocess.run(
        [str(Path(sys.executable).parent / "radbus"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_a_real_chest_ct_sent_by_the_command_gives_lungs_of_a_plausible_size(hospital, shared_data):
    printed = json.loads(radbus(hospital, "send", str(shared_data / "ct_chest_qin"), "--wait", "--json"))

    (answer,) = printed["results"].values()
    values = answer["body"]["result"]["values"]["lungs"]
    assert printed["refused"] == {}
    assert answer["body"]["usecase"] == "qct"
    assert 700 < values["right_lung_volume_ml"] < 1200  # its upper lobe is collapsed around a mass, which is said
    assert 1700 < values["left_lung_volume_ml"] < 2200
    assert any("collapse" in limit for limit in answer["body"]["result"]["limits"])
    assert -900 < values["mean_lung_density_hu"] < -600


def test_the_command_explains_why_a_head_is_no_chest(hospital, shared_data):
    told = json.loads(radbus(hospital, "explain", str(shared_data / "ct_head_phantom_philips"), "--json"))

    for use_cases in told.values():
        qct = next(each for each in use_cases if each["use_case"] == "qct")
        answers = {condition["name"]: condition["answer"] for condition in qct["conditions"]}
        assert qct["matched"] is False
        assert answers["modality"] == "yes"
        assert answers["region"] != "yes"


def test_everything_there_is_sent_at_once_ends_in_an_answer_for_each(hospital, shared_data):
    paths = [path for path in sorted(shared_data.rglob("*")) if path.is_file() and path.suffix != ".csv"]
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]

    with ThreadPoolExecutor(len(batches)) as threads:
        answers = list(threads.map(lambda batch: _upload(hospital, batch), batches))

    series: set[str] = set()
    for batch, answer in zip(batches, answers, strict=True):
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 200:
            assert len(answer.json()["messages"]) == len(batch)
            series.update(answer.json()["series_instance_uids"])
    assert len(series) > 20
    results = {uid: hospital.result(uid, timeout_s=120) for uid in series}
    assert {answer.status_code for answer in results.values()} == {200, 206, 400}
    matched = {uid for uid, answer in results.items() if answer.status_code in (200, 206)}
    assert {job["series_instance_uids"][0] for job in hospital.jobs(state="completed")} == matched
    assert _uid_of(shared_data / "ct_chest_qin") in matched
    skull = results[_uid_of(shared_data / "ct_head_phantom_philips")]  # a phantom with air in the place of a brain
    assert (skull.status_code, skull.json()["usecase"]) == (206, "not_implemented")


def _upload(hospital, paths: list[Path]) -> httpx2.Response:
    files = [(f"file{n}", (f"{n}", path.read_bytes(), "application/dicom")) for n, path in enumerate(paths)]
    return httpx2.post(hospital.url("/upload"), headers=hospital.headers, files=files, timeout=60)


def _uid_of(folder: Path) -> str:
    return str(pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True).SeriesInstanceUID)
