"""`GET /compute/{SeriesInstanceUID}` (CONTRACTS, section 1): asking for a computation, or for another."""

from __future__ import annotations

import json

import pytest
from radbus_testing.waiting import eventually

from tests.contract.wire import Answer, ask

pytestmark = pytest.mark.stack

PUSHED = {"message": "series_instance_uid successfully pushed for computation!", "success": True}
RECOMPUTE = json.dumps({"recompute": True}).encode()
UNKNOWN = "1.2.826.0.1.3680043.8.498.404"
BOTH_METHODS = pytest.mark.parametrize("method", ["GET", "POST"])


def compute(hospital, uid: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    kind = {"Content-Type": "application/json"} if body else {}
    given = {**hospital.headers, **kind, **headers}
    return ask(hospital.stack, method, f"/compute/{uid}", headers=given, body=body)


def jobs_of(hospital, uid: str) -> list[str]:
    jobs = ask(hospital.stack, "GET", "/jobs?limit=200", headers=hospital.headers).json()["jobs"]
    return [job["id"] for job in jobs if uid in job["series_instance_uids"]]


@BOTH_METHODS
def test_what_waits_for_somebody_to_ask_is_computed_once_somebody_has(new_hospital, new_series, method):
    hospital = new_hospital()
    series = new_series(3, body_part="SHOULDER")
    hospital.upload(series.instances)
    assert hospital.result(series.uid).status_code == 409

    answer = compute(hospital, series.uid, method)

    assert answer.status == 200, answer.body
    assert answer.json() == PUSHED

    def computed() -> bool:
        return hospital.results(series.uid).status_code == 206

    assert eventually(computed, timeout_s=30, what="result of what was asked for")


@BOTH_METHODS
def test_a_304_with_a_body_would_be_read_as_the_next_answer_on_the_connection(north, not_usable, method):
    answer = compute(north, not_usable.uid, method)

    assert answer.status == 304
    assert answer.body == b""
    assert answer.header("content-length") in (None, "0")


@BOTH_METHODS
def test_recompute_in_the_body_even_of_a_get_computes_again(new_hospital, new_series, method):
    hospital = new_hospital()
    series = new_series(3, body_part="ABDOMEN")
    hospital.upload(series.instances, source="sleepy")
    assert hospital.result(series.uid).status_code == 206
    before = jobs_of(hospital, series.uid)

    answer = compute(hospital, series.uid, method, RECOMPUTE)

    assert answer.status == 200, answer.body
    assert answer.json() == PUSHED

    def again() -> bool:
        return len(jobs_of(hospital, series.uid)) == len(before) + 1

    assert eventually(again, timeout_s=20, what="second job")
    assert hospital.result(series.uid).status_code == 206


@BOTH_METHODS
def test_a_series_that_is_not_there_is_404_with_the_message_that_clients_show(north, south, judged, method):
    for hospital, uid in ((north, UNKNOWN), (south, judged.uid)):
        answer = compute(hospital, uid, method)

        assert answer.status == 404
        assert answer.json() == {
            "success": False,
            "message": f"Resource with SeriesInstanceUID {uid} is not yet uploaded!",
        }


@BOTH_METHODS
def test_without_credentials_or_with_anothers_source_nothing_is_computed(north, only_ct1, judged, method):
    unknown = ask(north.stack, method, f"/compute/{judged.uid}")
    denied = compute(only_ct1, judged.uid, method, Source="ct2")

    assert unknown.status == 401
    assert unknown.json() == {
        "message": "Invalid token header. No credentials provided.",
        "authenticated": False,
    }
    assert denied.status == 403
    assert denied.json() == {"success": False, "message": "Access denied!"}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"recompute": false}'])
def test_a_body_that_asks_for_nothing_is_no_body(north, not_usable, body):
    answer = compute(north, not_usable.uid, "POST", body)

    assert answer.status == 304


def test_a_body_that_cannot_be_read_is_refused_and_no_fault_of_the_server(north, not_usable):
    answer = compute(north, not_usable.uid, "POST", b"{not json")

    assert answer.status in (400, 422)
    assert answer.json()["message"]
