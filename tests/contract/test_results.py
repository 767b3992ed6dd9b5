"""`GET /results/{uid}` in each of its states (CONTRACTS, section 1): clients branch on the status."""

from __future__ import annotations

import io
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pydicom
import pytest

from tests.contract.wire import Answer, ask

pytestmark = pytest.mark.stack

BOTH_ADDRESSES = pytest.mark.parametrize("prefix", ["/results", "/results/v2"])
ACCESS_DENIED = {"success": False, "message": "Access denied!"}
NO_CREDENTIALS = {"message": "Invalid token header. No credentials provided.", "authenticated": False}
KINDS = {"reports", "sc_key_slices", "sc", "gsps", "sc_png", "seg", "sr", "pdf", "encapsulated_pdf", "json"}
UNKNOWN = "1.2.826.0.1.3680043.8.498.404"


def results(hospital, uid: str, prefix: str = "/results", **headers: str) -> Answer:
    return ask(hospital.stack, "GET", f"{prefix}/{uid}", headers={**hospital.headers, **headers})


def instance_of(series) -> str:
    return str(pydicom.dcmread(io.BytesIO(series.instances[0]), stop_before_pixels=True).SOPInstanceUID)


def same(answer: Answer) -> dict:
    """Return a body without what differs each time: the signatures of its URLs."""
    body = answer.json()
    body["result"]["files"] = {
        kind: [url.split("?")[0] for url in urls] for kind, urls in body["result"]["files"].items()
    }
    return body


@BOTH_ADDRESSES
def test_a_result_has_the_keys_that_clients_read_and_their_exact_values(north, judged, prefix):
    answer = results(north, judged.uid, prefix)

    body = answer.json()
    assert answer.status == 200
    assert body["success"] is True
    assert body["message"] == "Results retrieved successfully!"
    assert body["triage_status"] == "Routine"
    assert body["usecase"] == "qct"
    assert isinstance(body["result"]["report"], str)
    assert body["result"]["report"]
    assert body["report"] == []


def test_files_are_lists_of_urls_on_the_public_address_and_a_kind_with_none_is_absent(north, judged):
    files = results(north, judged.uid).json()["result"]["files"]

    public = urlsplit(north.stack.environment()["RADBUS_S3_PUBLIC_URL"])
    assert {"seg", "sc_key_slices", "sc_png", "pdf", "reports", "json"} <= set(files)
    for kind, urls in files.items():
        assert isinstance(urls, list), kind
        assert urls, kind
        for url in urls:
            parts = urlsplit(url)
            assert (parts.scheme, parts.netloc) == (public.scheme, public.netloc)
            assert parse_qs(parts.query)["X-Amz-Expires"] == ["3600"]


def test_every_url_of_a_result_downloads_without_a_token_and_not_at_all_when_it_was_changed(north, judged):
    files = results(north, judged.uid).json()["result"]["files"]

    for urls in files.values():
        with urllib.request.urlopen(urls[0], timeout=10) as answer:
            assert answer.read(4)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(files["seg"][0].replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"), timeout=10)
    assert refused.value.code == 403


def test_a_client_that_asks_by_series_by_instance_or_by_study_gets_the_same_result(north, judged):
    by_series = results(north, judged.uid)

    assert same(results(north, instance_of(judged))) == same(by_series)
    assert same(results(north, judged.study)) == same(by_series)


@BOTH_ADDRESSES
@pytest.mark.parametrize("kind", ["sopInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_what_is_under_process_is_named_by_the_kind_as_it_was_found(north, under_process, prefix, kind):
    uid = {
        "sopInstanceUID": instance_of(under_process),
        "SeriesInstanceUID": under_process.uid,
        "StudyInstanceUID": under_process.study,
    }[kind]

    answer = results(north, uid, prefix)

    body = answer.json()
    assert answer.status == 202
    assert 0 <= body.pop("progress") <= 1
    assert body == {
        "success": False,
        "message": f"Resource with {kind} {uid} is under process. Please check back in some time.",
    }


@BOTH_ADDRESSES
def test_another_institutions_result_is_answered_as_an_unknown_one_would_be(south, judged, under_process, prefix):
    for uid in (judged.uid, judged.study, instance_of(judged), under_process.uid):
        answer = results(south, uid, prefix)

        assert answer.status == 404
        assert answer.json() == {
            "success": False,
            "message": f"Resource with SeriesInstanceUID {uid} is not yet uploaded!",
        }


@BOTH_ADDRESSES
def test_images_of_the_right_modality_that_cannot_be_judged_are_206_with_the_reason(north, not_usable, prefix):
    answer = results(north, not_usable.uid, prefix)

    body = answer.json()
    assert answer.status == 206
    assert body["success"] is True
    assert body["usecase"] == "not_implemented"
    assert "only sleeps" in body["result"]["report"]
    assert body["triage_status"] in ("Routine", "Critical")
    assert body["report"] == []
    assert all(body["result"]["files"].values())


@BOTH_ADDRESSES
def test_what_no_use_case_matches_is_400_with_the_body_that_clients_compare(north, unrouted, prefix):
    answer = results(north, unrouted.uid, prefix)

    body = answer.json()
    assert answer.status == 400
    assert list(body["debug_info"]) == ["reason"]
    assert body.pop("debug_info")["reason"]
    assert body == {
        "success": False,
        "message": "Use case not implemented.",
        "usecase": "not_implemented",
        "result": {},
    }


@BOTH_ADDRESSES
@pytest.mark.parametrize("uid", [UNKNOWN, "1" * 64, "not-a-uid"])
def test_an_unknown_uid_is_404_with_the_message_that_clients_show(north, prefix, uid):
    answer = results(north, uid, prefix)

    assert answer.status == 404
    assert answer.json() == {
        "success": False,
        "message": f"Resource with SeriesInstanceUID {uid} is not yet uploaded!",
    }


@BOTH_ADDRESSES
def test_what_is_computed_only_on_request_says_how_to_ask(north, on_request, prefix):
    answer = results(north, on_request.uid, prefix)

    assert answer.status == 409
    assert answer.json()["success"] is False
    assert f"GET /compute/{on_request.uid}" in answer.json()["message"]


@BOTH_ADDRESSES
def test_a_job_that_failed_for_good_is_500_with_its_id(north, failed, prefix):
    answer = results(north, failed.uid, prefix)

    body = answer.json()
    assert answer.status == 500
    assert set(body) == {"success", "message", "job"}
    assert body["success"] is False
    assert body["message"]
    assert ask(north.stack, "GET", f"/jobs/{body['job']}", headers=north.headers).json()["state"] == "failed"


@BOTH_ADDRESSES
def test_without_credentials_the_body_is_the_one_that_clients_compare(north, judged, prefix):
    answer = ask(north.stack, "GET", f"{prefix}/{judged.uid}")

    assert answer.status == 401
    assert answer.json() == NO_CREDENTIALS


@BOTH_ADDRESSES
def test_a_source_that_is_not_the_tokens_is_403_even_for_what_it_could_read(only_ct1, judged, prefix):
    denied = results(only_ct1, judged.uid, prefix, Source="ct2")
    allowed = results(only_ct1, judged.uid, prefix, Source="ct1")

    assert denied.status == 403
    assert denied.json() == ACCESS_DENIED
    assert allowed.status == 200


def test_the_kinds_of_files_are_those_that_the_contract_names_and_ours_beside_them(north, judged):
    files = results(north, judged.uid).json()["result"]["files"]

    assert set(files) <= KINDS | {"fhir", "hl7", "npz", "rtstruct"}
