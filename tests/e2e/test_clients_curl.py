"""curl, as scripts call it: upload by form, by file and by pipe; results with the header of the documentation."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from radbus_testing.waiting import eventually

from tests.contract.addresses import url

pytestmark = pytest.mark.stack


@pytest.fixture
def curl(hospital):
    """Run curl with a token and give the status, the type and the body."""

    def run(path: str, *arguments: str, token: str = f"Authorization: Token {hospital.token}", stdin: bytes = b""):
        options = ["--max-time", "60", "-w", r"\n%{http_code} %{content_type}"]
        done = subprocess.run(
            ["curl", "-q", "-sS", *options, "-H", token, *arguments, url(hospital.stack, path)],
            input=stdin,
            capture_output=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        body, _, told = done.stdout.rpartition(b"\n")
        status, _, content_type = told.decode().partition(" ")
        return int(status), content_type, body

    return run


@pytest.fixture
def chest(make_series, tmp_path) -> tuple[str, list[Path]]:
    """A chest as files in a folder; above a megabyte curl asks for 100 Continue first."""
    series = make_series()
    paths = [tmp_path / f"IM{number:04d}.dcm" for number in range(len(series.instances))]
    for path, content in zip(paths, series.instances, strict=True):
        path.write_bytes(content)
    assert sum(len(each) for each in series.instances) > 1_100_000
    return series.uid, paths


def test_a_form_of_files_is_uploaded_and_its_result_is_fetched_as_the_documentation_says(curl, chest):
    uid, paths = chest
    form = [part for n, path in enumerate(paths) for part in ("-F", f"file{n}=@{path};type=application/dicom")]

    status, content_type, body = curl("/upload", *form, "-H", "Expect: 100-continue", "-H", "Source: ward-3")

    assert (status, content_type) == (200, "application/json")
    assert json.loads(body)["series_instance_uids"] == [uid]
    assert len(json.loads(body)["messages"]) == len(paths)

    def result() -> dict | None:
        status, _, body = curl(f"/results/{uid}")
        assert status in (200, 202), body
        return json.loads(body) if status == 200 else None

    assert eventually(result, timeout_s=60, every_s=0.3, what="result for curl")["usecase"] == "qct"


def test_files_without_a_type_under_one_field_name_are_each_answered(curl, chest):
    uid, paths = chest
    form = [part for path in paths[:3] for part in ("-F", f"file=@{path}")]

    status, _, body = curl("/upload", *form)

    answer = json.loads(body)
    assert status == 200
    assert len(answer["messages"]) == 3
    assert answer["detailed_info"] == [{"SeriesInstanceUID": uid, "NumberOfSeriesRelatedInstances": 3}]


@pytest.mark.parametrize("way", [("--data-binary", "@-"), ("-X", "POST", "-T", "-")], ids=["length", "chunks"])
def test_one_file_comes_through_a_pipe(curl, chest, way):
    uid, paths = chest

    status, _, body = curl("/upload", *way, "-H", "Content-Type: application/dicom", stdin=paths[0].read_bytes())

    assert status == 200, body
    assert json.loads(body)["series_instance_uids"] == [uid]


def test_a_zip_of_a_folder_is_taken_apart(curl, chest, tmp_path):
    uid, paths = chest
    packed = tmp_path / "study.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in paths[:4]:
            archive.write(path, f"DICOM/{path.name}")

    status, _, body = curl("/studies", "-F", f"study=@{packed}")

    assert status == 200, body
    assert set(json.loads(body)["messages"]) == {f"DICOM/{path.name}" for path in paths[:4]}
    assert json.loads(body)["series_instance_uids"] == [uid]


def test_a_script_that_branches_on_the_status_finds_each(curl, chest):
    _, paths = chest

    assert curl("/results/1.2.3")[0] == 404
    assert curl("/results/1.2.3", token="Authorization: Token wrong")[0] == 401
    assert curl("/upload", "-F", "file0=no DICOM")[0] == 400
    assert curl("/upload", "-F", f"file0=@{paths[0]}", token="Authorization: Bearer wrong")[0] == 401
