"""Scripts with requests, as users of the results API write them, and the sloppy form of multipart/related."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import requests
from radbus_testing.waiting import eventually
from requests_toolbelt import MultipartEncoder

from tests.contract.addresses import url

pytestmark = pytest.mark.stack


def fetch(address: str, token: str) -> requests.Response:
    """Fetch as the documentation's sample does, until it is no longer under process."""

    def settled() -> requests.Response | None:
        answer = requests.get(address, headers={"Authorization": f"Token {token}"}, timeout=30)
        return None if answer.status_code == 202 else answer

    return eventually(settled, timeout_s=60, every_s=0.3, what="result for the script")


@pytest.mark.parametrize("path", ["/upload", "/studies"])
def test_an_encoder_of_forms_that_calls_itself_related_is_served(hospital, make_series, path):
    series = make_series(body_part="KNEE", study_description="CT knee")
    fields = {
        f"file{number}": (f"{number}.dcm", content, "application/dicom")
        for number, content in enumerate(series.instances)
    }
    encoder = MultipartEncoder(fields)
    headers = {
        **hospital.headers,
        "Content-Type": f"multipart/related; type=application/dicom; boundary={encoder.boundary_value}",
        "Source": "ward-3",
    }

    answer = requests.post(url(hospital.stack, path), data=encoder, headers=headers, timeout=60)

    body = answer.json()
    assert answer.status_code == 200, body
    assert list(body["messages"]) == list(fields)
    assert all(entry["created"] for entry in body["messages"].values())
    assert body["detailed_info"] == [
        {"SeriesInstanceUID": series.uid, "NumberOfSeriesRelatedInstances": len(series.instances)}
    ]


def test_the_sample_script_uploads_files_and_reads_every_attribute_of_the_result(hospital, make_series, tmp_path):
    series = make_series()
    paths = [tmp_path / f"{number}.dcm" for number in range(len(series.instances))]
    for path, content in zip(paths, series.instances, strict=True):
        path.write_bytes(content)

    with ExitStack() as opened:
        files = [(f"file_{n}", opened.enter_context(path.open("rb"))) for n, path in enumerate(paths)]
        headers = {"Authorization": f"Bearer {hospital.token}", "Source": "ward-3"}
        sent = requests.post(url(hospital.stack, "/upload"), files=files, headers=headers, timeout=60).json()
    (uid,) = sent["series_instance_uids"]
    answer = fetch(url(hospital.stack, f"/results/{uid}"), hospital.token)

    body = answer.json()
    assert uid == series.uid
    assert answer.status_code == 200
    assert body["success"] is True
    assert body["message"] == "Results retrieved successfully!"
    assert body["triage_status"] in ("Routine", "Critical")
    assert body["usecase"] in ("qxr", "qer", "qct", "not_implemented")
    assert isinstance(body["result"]["report"], str)
    assert body["report"] == []
    for urls in body["result"]["files"].values():
        for address in urls:
            assert requests.get(address, timeout=30).content


def test_one_connection_that_is_kept_serves_request_after_request(hospital, make_series):
    series = make_series(body_part="KNEE", study_description="CT knee")
    with requests.Session() as session:
        session.headers.update(hospital.headers)
        statuses = []
        for number in range(3):
            file = {"file0": (f"{number}.dcm", series.instances[number], "application/dicom")}
            statuses.append(session.post(url(hospital.stack, "/upload"), files=file, timeout=30).status_code)
            statuses.append(session.post(url(hospital.stack, "/upload"), data=b"x", timeout=30).status_code)

    assert statuses == [200, 415] * 3
