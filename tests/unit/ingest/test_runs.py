"""The start of a run, byte for byte as InnerEye's public client compares it, and what is left of one that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from radbus_contracts.identity import model_id
from radbus_dicom.zips import ZipLimits
from radbus_ingest.domain.limits import Limits

Make = Callable[..., Any]
START = "/v1/model/start/PassThroughModel:1729"
SEGMENT = "/api/v1/models/PassThroughModel:1729/segmentation"
AUTHENTICATE = "Server failed to authenticate the request. Make sure the value of the API_AUTH_SECRET header is"
UNAUTHORIZED = (
    f'{{"code":"UNAUTHORIZED","detail":"{AUTHENTICATE} populated.","status":401,"title":"NoAuthenticationInformation"}}'
)
FORBIDDEN = f'{{"code":"FORBIDDEN","detail":"{AUTHENTICATE} correct.","status":403,"title":"AuthenticationFailed"}}'
NO_MODEL = (
    '{"code":"NOT_FOUND","detail":"The specified resource does not exist.","status":404,"title":"ResourceNotFound",'
    '"extra_details":"InvalidModelId"}'
)
GONE = b'"extra_details":"POST /studies"'
LIMITS = Limits(request_bytes=10_000, part_bytes=8_000, part_count=1, zips=ZipLimits(1, 1, 1))


@pytest.mark.parametrize("content_type", [None, "text/html", "multipart/form-data; boundary=", "application/zip"])
@pytest.mark.parametrize("body", [b"", b"no zip at all", bytes(50_000)])
async def test_a_start_takes_any_body_and_answers_the_bare_run_id(body, content_type, ingest):
    answer = await ingest.post(START, body, content_type, secret="right", accept="text/html", content_encoding="gzip")

    run_id = answer.body.decode()
    assert answer.status == 201
    assert answer.headers["content-type"] == "text/plain"
    assert str(UUID(run_id)) == run_id
    assert ingest.stores.objects == {f"hospital/runs/{run_id}/upload.zip": body}
    assert ingest.room.used_bytes == 0


async def test_a_started_run_asks_for_a_job_that_has_a_zip_in_the_place_of_series(ingest):
    answer = await ingest.post(START, b"zip", secret="right")

    run_id = answer.body.decode()
    [job] = ingest.runs.told
    assert (job.job_id, job.subject_uid, job.scope, job.priority) == (run_id, run_id, "archive", "high")
    assert (job.use_case, job.series_instance_uids, job.study_instance_uid) == ("inner-eye", (), "")
    assert [(task.id, task.machine) for task in job.tasks] == [("segment", "pass-through")]
    assert job.archive in ingest.stores.objects


async def test_a_segmentation_of_the_same_zip_is_the_same_run_in_the_other_dialect(ingest):
    started = await ingest.post(START, b"zip", secret="right")

    answer = await ingest.post(SEGMENT, b"zip", secret="right")

    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    assert answer.json == {"segmentationId": started.body.decode()}
    assert len(ingest.stores.objects) == len(ingest.runs.told) == 1


@pytest.mark.parametrize(
    ("path", "secret", "status", "body"),
    [
        (START, None, 401, UNAUTHORIZED),
        (START, "wrong", 403, FORBIDDEN),
        ("/v1/model/start/Pass:1", "right", 404, NO_MODEL),
        ("/v1/model/start/a/b", "right", 404, NO_MODEL),
        ("/api/v1/models/a/segmentation", "right", 404, NO_MODEL),
    ],
)
async def test_a_start_that_is_refused_is_a_row_of_the_contracts_table_and_no_byte_is_read(
    path, secret, status, body, ingest
):
    answer = await ingest.post(path, b"zip", secret=secret)

    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.body.decode() == body
    assert not answer.is_body_read


@pytest.mark.parametrize(
    "declared", [{}, {"content_length": "9" * 40}, {"content_length": "abc"}, {"content_length": "٣"}]
)
async def test_a_zip_above_the_limit_is_413_in_the_words_of_the_dialect(declared, make_ingest):
    ingest = make_ingest(limits=LIMITS)

    answer = await ingest.post(START, bytes(9_000), secret="right", **declared)

    assert answer.status == 413
    assert (answer.json["code"], answer.json["status"]) == ("PAYLOAD_TOO_LARGE", 413)
    assert not ingest.stores.objects
    assert ingest.room.used_bytes == 0


@pytest.mark.parametrize("times", [{"body_idle_s": 0.01}, {"body_s": 0.01}])
@pytest.mark.parametrize("path", [START, "/upload", "/studies"])
async def test_a_body_that_does_not_arrive_in_time_is_408(path, times, make_ingest, make_instance, multipart):
    ingest = make_ingest(limits=replace(LIMITS, **times))
    form = "multipart/form-data; boundary=b" if path == "/upload" else "multipart/related; boundary=b"

    answer = await ingest.post(path, multipart(("a", make_instance(1))), form, secret="right", stall=True)

    assert answer.status == 408
    assert ingest.room.used_bytes == 0


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (START, None),
        ("/upload", "multipart/form-data; boundary=b"),
        ("/studies", "multipart/related; boundary=b"),
        ("/upload", "application/dicom"),
        ("/upload", "application/zip"),
    ],
)
async def test_a_body_that_comes_byte_by_byte_is_408_and_says_how_fast_it_is_to_come(
    path, content_type, make_ingest, make_instance, multipart
):
    ingest = make_ingest(limits=replace(LIMITS, body_idle_s=0.05, body_least_bytes_per_s=2000))
    body = multipart(("a", make_instance(1)))

    answer = await ingest.post(path, body, content_type, secret="right", piece_bytes=1, pause_s=0.002)

    assert answer.status == 408
    if path != START:  # whose answers are of its dialect
        assert b"expected 100 bytes of the body or more in each 0.05 s" in answer.body
    assert ingest.room.used_bytes == 0


@pytest.mark.parametrize("store", ["objects", "records", "begin"])
async def test_while_a_store_is_away_a_start_is_503_leaves_nothing_and_can_be_repeated(store, ingest):
    ingest.stores.away = {store}
    refused = await ingest.post(START, b"zip", secret="right")
    left = {**ingest.stores.objects}
    ingest.stores.away = set()

    accepted = await ingest.post(START, b"zip", secret="right")

    assert (refused.status, refused.json["status"], "retry-after" in refused.headers) == (503, 503, True)
    assert left == {}
    assert accepted.status == 201
    assert len(ingest.stores.objects) == len(ingest.runs.told) == 1


async def test_a_run_that_began_though_the_answer_of_the_store_was_lost_keeps_its_zip_for_the_repeated_start(ingest):
    ingest.runs.fails_after_it_began = True
    lost = await ingest.post(START, b"zip", secret="right")

    answer = await ingest.post(START, b"zip", secret="right")

    assert (lost.status, answer.status) == (503, 201)
    assert answer.body.decode() == ingest.runs.told[0].job_id
    assert list(ingest.stores.objects) == [ingest.runs.told[0].archive]


async def test_too_many_starts_at_a_time_are_refused_in_the_words_of_the_dialect(make_ingest):
    answer = await make_ingest(requests=0).post(START, b"zip", secret="right")

    assert answer.status == 503
    assert answer.json["code"] == "SERVICE_UNAVAILABLE"


@pytest.mark.parametrize(("path", "secret"), [("/ping", None), ("/api/ping", "right"), ("/v1/ping", "right")])
async def test_a_ping_is_an_empty_page(path, secret, ingest):
    answer = await ingest.post(path, method="GET", secret=secret, accept="text/html")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("secret", "status"), [(None, 401), ("wrong", 403)])
@pytest.mark.parametrize("path", ["/api/ping", "/v1/ping", "/api/v1/models"])
async def test_a_ping_tells_wrong_credentials_from_none(path, secret, status, ingest):
    answer = await ingest.post(path, method="GET", secret=secret)

    assert answer.status == status


async def test_the_models_are_listed_by_the_ids_that_a_start_takes(ingest):
    answer = await ingest.post("/api/v1/models", method="GET", secret="right")

    assert answer.json == [
        {
            "id": "PassThroughModel:1729",
            "uuid": model_id("inner-eye", "pass-through"),
            "name": "pass-through",
            "title": "Rectangles",
            "version": "1729",
            "channels": ["ct"],
        }
    ]


async def test_a_model_that_is_not_the_callers_is_no_model_and_no_byte_is_read(make_ingest):
    ingest = make_ingest(callers_models=(model_id("qct", "lung-ct"), "PassThroughModel:1729"))

    starts = [await ingest.post(path, b"zip", secret="right") for path in (START, SEGMENT)]
    listed = await ingest.post("/api/v1/models", method="GET", secret="right")

    assert {(each.status, each.body.decode(), each.is_body_read) for each in starts} == {(404, NO_MODEL, False)}
    assert listed.json == []


async def test_a_model_that_is_the_callers_is_listed_and_started(make_ingest):
    ingest = make_ingest(callers_models=(model_id("inner-eye", "pass-through"),))

    started = await ingest.post(START, b"zip", secret="right")
    listed = await ingest.post("/api/v1/models", method="GET", secret="right")

    assert started.status == 201
    assert [each["id"] for each in listed.json] == ["PassThroughModel:1729"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/api/v1/storage", "/api/v1/feedback"])
async def test_a_call_that_was_dropped_names_what_replaced_it(path, method, ingest):
    answer = await ingest.post(path, b"anything", method=method)

    assert (answer.status, answer.headers["content-type"]) == (410, "application/json")
    assert GONE in answer.body
