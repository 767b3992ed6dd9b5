"""A result is compared with the same patient's previous one: in every output, and whatever arrives first."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import highdicom as hd
import pytest
from radbus_testing.phantom import ChestPhantom
from radbus_testing.waiting import eventually

pytestmark = [
    pytest.mark.stack,
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom"),
]


@pytest.fixture
def grown_chest(small_chest) -> ChestPhantom:
    """The small chest with larger pixels: the same lungs, of 21 % more volume."""
    frame, row, column = small_chest.spacing_mm
    return replace(small_chest, spacing_mm=(frame, row * 1.1, column * 1.1))


@pytest.fixture
def examined(hospital, make_series, small_chest) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """Send a study of the patient and wait for its result."""

    def examine(study_date: str, phantom: ChestPhantom = small_chest, *, of=hospital, **header: str):
        series = make_series(phantom, study_date=study_date, **header)
        of.upload(series.instances)
        return series, of.result(series.uid, timeout_s=180).json()

    return examine


def download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def comparison(body: dict[str, Any]) -> dict[str, Any]:
    (only,) = body["result"]["comparisons"]
    return only


def test_the_change_since_the_previous_study_is_in_every_output(hospital, examined, grown_chest, dciodvfy, tmp_path):
    examined("20240301")
    earlier, before = examined("20250102")

    series, body = examined("20260102", grown_chest)

    told, was = comparison(body), before["result"]["measurements"][0]
    (change,) = (each for each in told["changes"] if each["name"] == was["name"])
    assert told["previous"]["study_instance_uid"] == earlier.study
    assert told["previous"]["inference_id"] == before["result"]["inference_id"]
    assert (told["previous"]["study_date"], told["previous"]["days_between"]) == ("20250102", 365)
    assert change["previous"] == was["value"]
    assert change["absolute"] == pytest.approx(change["value"] - change["previous"])
    assert change["percent"] == pytest.approx(100 * change["absolute"] / change["previous"], abs=0.06)
    assert change["percent"] == pytest.approx(21, abs=3)
    assert told["summary"] in body["result"]["report"]

    files = {kind: [download(url) for url in urls] for kind, urls in body["result"]["files"].items()}
    (tmp_path / "sr.dcm").write_bytes(files["sr"][0])
    (tmp_path / "report.pdf").write_bytes(files["pdf"][0])
    said = subprocess.run([dciodvfy, str(tmp_path / "sr.dcm")], capture_output=True, text=True, check=False).stderr
    groups = hd.sr.srread(io.BytesIO(files["sr"][0])).content.get_image_measurement_groups()
    in_sr = {str(group.tracking_identifier) for group in groups}
    page = subprocess.run(
        ["pdftotext", "-layout", str(tmp_path / "report.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    resources = [each["resource"] for each in json.loads(files["fhir"][0])["entry"]]
    assert "Error" not in said
    assert f"{change['title']}, change since 2025-01-02" in in_sr
    assert "2025-01-02" in page
    assert "365 days before" in page
    assert sum("component" in each for each in resources) == len(told["changes"])
    assert told["summary"].split(";")[0].encode() in files["hl7"][0]
    assert json.loads(files["json"][0])["comparison"]["summary"] == told["summary"]
    (listed,) = hospital.get("/inferences", series=series.uid).json()
    assert listed["comparisons"] == [told]


def test_nothing_is_compared_with_another_institutions_result_nor_with_what_is_not_earlier(hospitals, examined):
    north, south = hospitals(), hospitals()
    examined("20240301", of=south)
    examined("20270301", of=north)

    _, body = examined("20260102", of=north)

    assert comparison(body)["previous"] is None
    assert "No earlier result" in comparison(body)["remarks"][0]


def test_a_prior_that_arrives_later_changes_no_report_and_is_compared_with_when_it_is_asked_for_again(
    hospital, examined
):
    series, first = examined("20260102")
    earlier, body = examined("20250102")

    unchanged = hospital.result(series.uid).json()
    asked = hospital.http.request(
        "GET", hospital.url(f"/compute/{series.uid}"), headers=hospital.headers, json={"recompute": True}
    )

    def compared() -> dict[str, Any] | None:
        told = comparison(hospital.result(series.uid).json())
        return told if told["previous"] else None

    told = eventually(compared, timeout_s=120, what="a comparison")
    assert comparison(body)["previous"] is None
    assert (comparison(first)["previous"], comparison(unchanged)) == (None, comparison(first))
    assert unchanged["result"]["inference_id"] == first["result"]["inference_id"]
    assert asked.status_code == 200
    assert told["previous"]["study_instance_uid"] == earlier.study
