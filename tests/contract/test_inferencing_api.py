"""The inferencing API (CONTRACTS, section 3): the routes of the document, and those that its public client calls."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

import pytest
from radbus_testing.waiting import eventually

from tests.contract.innereye_gateway import archive, hashed
from tests.contract.wire import Answer, ask

pytestmark = pytest.mark.stack

HTML = "text/html; charset=utf-8"
PASS_THROUGH = "PassThroughModel:1729"
SECRET = "Server failed to authenticate the request. Make sure the value of the API_AUTH_SECRET header is"
FAULTS = {
    400: ("BAD_REQUEST", "InvalidInput", "Input file is not in correct format."),
    401: ("UNAUTHORIZED", "NoAuthenticationInformation", f"{SECRET} populated."),
    403: ("FORBIDDEN", "AuthenticationFailed", f"{SECRET} correct."),
    404: ("NOT_FOUND", "ResourceNotFound", "The specified resource does not exist."),
    500: (
        "INTERNAL_SERVER_ERROR",
        "InternalError",
        "The server encountered an internal error. Please retry the request.",
    ),
}
NO_SUCH_RUN = "00000000-0000-4000-8000-000000000000"


def fault(status: int, extra_details: str | None = None) -> dict:
    code, title, detail = FAULTS[status]
    body = {"code": code, "detail": detail, "status": status, "title": title}
    return body | ({"extra_details": extra_details} if extra_details else {})


def call(hospital, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """Ask as the client does; it always sends `Accept: text/html`."""
    given = {"Accept": "text/html", "API_AUTH_SECRET": hospital.token, **headers}
    return ask(hospital.stack, method, path, headers=given, body=body)


def start(hospital, model_id: str, body: bytes) -> str:
    answer = call(hospital, "POST", f"/v1/model/start/{model_id}", body)
    assert answer.status == 201, answer
    return answer.body.decode()


def ended(hospital, run_id: str, *, timeout_s: float = 60) -> Answer:
    """Poll until it is no longer under way; each 202 on the way must be empty."""

    def settled() -> Answer | None:
        answer = call(hospital, "GET", f"/v1/model/results/{run_id}")
        if answer.status != 202:
            return answer
        assert answer.body == b""
        assert answer.content_type == HTML
        return None

    return eventually(settled, timeout_s=timeout_s, what=f"end of the run {run_id}")


@pytest.fixture(scope="session")
def zipped(new_series) -> bytes:
    """A small series as the client uploads it."""
    return archive({"ct": new_series(3).instances})


@pytest.fixture(scope="module")
def slow_run(north, new_series) -> Iterator[str]:
    """A run whose machine takes as long as all tests of what is under way need."""
    run_id = start(north, "sleeper:1.0.0", archive({"ct": new_series(3, hu=3000).instances}))
    yield run_id
    ask(north.stack, "POST", f"/jobs/{run_id}/cancel", headers=north.headers)


@pytest.fixture(scope="session")
def passed_through(north, zipped) -> str:
    """A run that has its result."""
    run_id = start(north, PASS_THROUGH, zipped)
    assert ended(north, run_id).status == 200
    return run_id


def test_the_hash_is_the_one_of_the_contracts_example():
    assert hashed("1.2.34567") == "1031611115842042201571108310370131941580715010924373111131841072"


def test_a_ping_with_a_body_or_another_type_is_no_ping_to_the_client(north):
    answer = call(north, "GET", "/v1/ping")

    assert answer.status == 200
    assert answer.body == b""
    assert answer.content_type == HTML


AUTHENTICATED = pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/ping"),
        ("POST", f"/v1/model/start/{PASS_THROUGH}"),
        ("POST", "/v1/model/start/NoSuchModel:1"),
        ("GET", f"/v1/model/results/{NO_SUCH_RUN}"),
    ],
)


@AUTHENTICATED
def test_an_absent_secret_is_401_in_the_clients_words(north, method, path):
    answer = ask(north.stack, method, path, headers={"Accept": "text/html"}, body=b"" if method == "POST" else None)

    assert answer.status == 401
    assert answer.content_type == "application/json"
    assert answer.json() == fault(401)


@AUTHENTICATED
def test_a_wrong_secret_is_403_or_the_client_would_go_on_for_ever(north, method, path):
    answer = call(north, method, path, b"" if method == "POST" else None, API_AUTH_SECRET="wrong")

    assert answer.status == 403
    assert answer.content_type == "application/json"
    assert answer.json() == fault(403)


def test_a_run_id_with_a_quote_a_line_break_or_a_charset_is_a_run_that_is_never_found(north, zipped):
    answer = call(north, "POST", f"/v1/model/start/{PASS_THROUGH}", zipped)

    assert answer.status == 201
    assert answer.content_type == "text/plain"
    assert re.fullmatch(rb"[A-Za-z0-9_-]+", answer.body)
    assert ended(north, answer.body.decode()).status == 200


def test_a_colon_of_a_model_id_may_come_as_percent_3a(north, zipped):
    answer = call(north, "POST", "/v1/model/start/PassThroughModel%3A1729", zipped)

    assert answer.status == 201


@pytest.mark.parametrize(
    "content_type", [None, "", "application/octet-stream", "application/zip", "text/plain", "multipart/form-data", "x"]
)
def test_start_takes_any_content_type_even_none(north, zipped, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}

    answer = call(north, "POST", f"/v1/model/start/{PASS_THROUGH}", zipped, **headers)

    assert answer.status == 201, answer


@pytest.mark.parametrize("accept", ["text/html", "*/*", "application/json", "image/png"])
def test_a_406_would_stop_a_client_that_asks_for_html(north, slow_run, accept):
    assert call(north, "GET", "/v1/ping", Accept=accept).status == 200
    assert call(north, "GET", f"/v1/model/results/{slow_run}", Accept=accept).status == 202
    assert call(north, "GET", f"/v1/model/results/{NO_SUCH_RUN}", Accept=accept).status == 404


def test_a_202_with_a_body_would_make_innereyes_client_give_up(north, slow_run):
    answer = call(north, "GET", f"/v1/model/results/{slow_run}")

    assert answer.status == 202
    assert answer.body == b""
    assert answer.content_type == HTML


def test_the_documents_result_is_an_empty_202_while_it_runs(north, slow_run):
    segmentation = f"/api/v1/models/sleeper:1.0.0/segmentation/{slow_run}"

    result = call(north, "GET", f"{segmentation}/result")
    status = call(north, "GET", segmentation)

    assert (result.status, result.body) == (202, b"")
    assert status.json()["status"] in ("pending", "running")


def test_another_institutions_run_is_an_unknown_one(south, passed_through, slow_run):
    for run_id in (passed_through, slow_run):
        answer = call(south, "GET", f"/v1/model/results/{run_id}")

        assert answer.status == 404
        assert answer.json() == fault(404, "InvalidRunId")


def test_a_result_with_a_second_entry_would_make_innereyes_client_give_up(north, passed_through):
    answer = call(north, "GET", f"/v1/model/results/{passed_through}")

    assert answer.status == 200
    assert answer.content_type == "application/zip"
    (entry,) = zipfile.ZipFile(io.BytesIO(answer.body)).infolist()
    assert not entry.is_dir()


def test_a_result_may_be_fetched_again(north, passed_through):
    first = call(north, "GET", f"/v1/model/results/{passed_through}")
    again = call(north, "GET", f"/v1/model/results/{passed_through}")

    assert (first.status, again.status) == (200, 200)
    assert zipfile.ZipFile(io.BytesIO(again.body)).namelist() == zipfile.ZipFile(io.BytesIO(first.body)).namelist()


@pytest.mark.parametrize("body", [b"", b"no zip", b"PK\x03\x04 and then nothing"], ids=["empty", "text", "cut"])
def test_what_is_no_zip_is_started_and_told_on_the_results_only(north, body):
    run_id = start(north, PASS_THROUGH, body)

    answer = ended(north, run_id)

    assert answer.status == 400
    assert answer.content_type == "application/json"
    assert answer.json() == fault(400, "InvalidZipFile")


def test_a_zip_without_images_is_an_invalid_one(north):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as entries:
        entries.writestr("ct/0", b"not DICOM")

    answer = ended(north, start(north, PASS_THROUGH, packed.getvalue()))

    assert answer.status == 400
    assert answer.json() == fault(400, "InvalidZipFile")


def test_an_unknown_model_is_404_that_names_what_was_wrong(north, zipped):
    answer = call(north, "POST", "/v1/model/start/NoSuchModel:1", zipped)

    assert answer.status == 404
    assert answer.content_type == "application/json"
    assert answer.json() == fault(404, "InvalidModelId")


@pytest.mark.parametrize("run_id", [NO_SUCH_RUN, "1", "not-a-run"])
def test_an_unknown_run_is_404_that_names_what_was_wrong(north, run_id):
    answer = call(north, "GET", f"/v1/model/results/{run_id}")

    assert answer.status == 404
    assert answer.content_type == "application/json"
    assert answer.json() == fault(404, "InvalidRunId")


def test_a_machine_that_fails_for_good_is_500_without_extra_details(north, zipped):
    answer = ended(north, start(north, "broken:1.0.0", zipped))

    assert answer.status == 500
    assert answer.content_type == "application/json"
    assert answer.json() == fault(500)


def test_a_cancelled_run_is_500_that_says_so(north, new_series):
    run_id = start(north, "sleeper:1.0.0", archive({"ct": new_series(3, hu=3000).instances}))

    def cancelled() -> bool:
        return ask(north.stack, "POST", f"/jobs/{run_id}/cancel", headers=north.headers).status == 202

    assert eventually(cancelled, timeout_s=20, what="job of the run")
    answer = ended(north, run_id)
    assert answer.status == 500
    assert answer.json() == fault(500, "RunCancelled")


def test_a_start_that_arrives_twice_is_one_run(north, new_series):
    body = archive({"ct": new_series(3).instances})

    assert start(north, PASS_THROUGH, body) == start(north, PASS_THROUGH, body)


def test_ping_tells_without_a_secret_that_the_host_is_up(north):
    answer = ask(north.stack, "GET", "/ping")

    assert answer.status == 200


def test_api_ping_tells_only_those_who_are_known(north):
    assert ask(north.stack, "GET", "/api/ping").status == 401
    assert ask(north.stack, "GET", "/api/ping", headers=north.headers).status == 200
    assert call(north, "GET", "/api/ping").status == 200


def test_the_models_that_can_be_asked_for_are_listed(north):
    answer = call(north, "GET", "/api/v1/models")

    assert answer.status == 200
    assert answer.content_type == "application/json"
    for model_id in (PASS_THROUGH, "lung-ct:1.0.0"):
        assert f'"{model_id}"'.encode() in answer.body


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_the_documents_routes_lead_from_a_zip_to_its_segmentation(north, new_series, separator):
    body = archive({"ct": new_series(3).instances}, separator)
    models = f"/api/v1/models/{PASS_THROUGH}/segmentation"

    started = call(north, "POST", models, body)
    segmentation = started.json()["segmentationId"]

    assert started.status == 201
    assert set(started.json()) == {"segmentationId"}

    def completed() -> dict | None:
        status = call(north, "GET", f"{models}/{segmentation}")
        assert status.status == 200
        told = status.json()
        assert set(told) == {"modelId", "segmentationId", "status", "progress", "message"}
        assert told["modelId"] == PASS_THROUGH
        assert told["segmentationId"] == segmentation
        assert told["status"] in ("pending", "running", "completed")
        assert 0 <= told["progress"] <= 100
        return told if told["status"] == "completed" else None

    assert eventually(completed, timeout_s=30, what="completed segmentation")["progress"] == 100
    result = call(north, "GET", f"{models}/{segmentation}/result")
    assert result.status == 200
    assert result.content_type == "application/zip"
    assert len(zipfile.ZipFile(io.BytesIO(result.body)).infolist()) == 1


def test_the_documents_routes_know_no_segmentation_of_another_model_or_institution(north, south, passed_through):
    for hospital, model, segmentation in (
        (north, PASS_THROUGH, NO_SUCH_RUN),
        (north, "lung-ct:1.0.0", passed_through),
        (south, PASS_THROUGH, passed_through),
    ):
        for tail in ("", "/result"):
            path = f"/api/v1/models/{model}/segmentation/{segmentation}{tail}"
            assert call(hospital, "GET", path).status == 404, path
    assert call(north, "POST", "/api/v1/models/NoSuchModel:1/segmentation", b"").status == 404


def test_the_documents_result_is_500_for_a_machine_that_failed(north, zipped):
    run_id = start(north, "broken:1.0.0", zipped)
    ended(north, run_id)

    segmentation = f"/api/v1/models/broken:1.0.0/segmentation/{run_id}"
    assert call(north, "GET", f"{segmentation}/result").status == 500
    assert call(north, "GET", segmentation).json()["status"] == "failed"


@pytest.mark.parametrize("path", ["/api/v1/storage", "/api/v1/feedback"])
def test_a_dropped_route_is_410_and_names_what_took_its_place(north, path):
    answer = call(north, "POST", path, b"")

    assert answer.status == 410
    assert b"STOW-RS" in answer.body or b"/studies" in answer.body
