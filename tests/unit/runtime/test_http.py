"""What every service answers alike to bad forms, large bodies and strange sources, and what it may log of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import APIRouter, Depends
from fastapi.testclient import TestClient
from pydantic import BaseModel
from radbus_contracts.errors import PermanentError
from radbus_runtime.audit.codes import READ
from radbus_runtime.auth.authenticator import Authenticator
from radbus_runtime.auth.principal import AccessScope, Principal
from radbus_runtime.auth.tokens import InstitutionNameError, create_token, digest
from radbus_runtime.dialects import DetailRoute, InnerEyeRoute
from radbus_runtime.http import create_api, id_for_log

from tests.unit.runtime.memory import Records

LIMIT_BYTES = 1000
NOW = datetime.now(UTC)


class Question(BaseModel):
    """A body of a known form."""

    series: list[dict[str, str]]


def record(
    token: str, *sources: str, expires_at: datetime | None = None, scopes: tuple[str, ...] = ("read",)
) -> dict[str, Any]:
    return {
        "_id": digest(token),
        "institution": "north",
        "name": "ct",
        "sources": list(sources),
        "scopes": list(scopes),
        "expires_at": expires_at,
    }


@pytest.fixture
def client(make_settings) -> Iterator[TestClient]:
    ended, before_scopes = record("old", expires_at=NOW - timedelta(seconds=1)), record("before-scopes")
    del before_scopes["scopes"]
    known = (record("any"), record("ward", "ward"), record("pacs", scopes=("store",)), ended, before_scopes)
    documents = {"tokens": Records(*known), "users": Records()}
    api = create_api("test", description="", body_limit_bytes=LIMIT_BYTES)
    caller = Depends(Authenticator(documents, make_settings()).requires(AccessScope.READ, READ))  # type: ignore[arg-type]

    @api.post("/questions")
    async def ask(question: Question, _: Principal = caller) -> int:
        return len(question.series)

    @api.get("/refused")
    async def refused() -> None:
        raise PermanentError("expected a UID")

    with TestClient(api, headers={"Authorization": "Token any"}, raise_server_exceptions=False) as made:
        yield made


@pytest.mark.parametrize("body", ['{"series": ["DOE^JANE"]}', '{"series": {"PatientName": "DOE^JANE"}}', '{"DOE^JANE'])
def test_a_body_of_another_form_is_answered_by_what_was_expected_and_not_by_what_was_given(client, body):
    answer = client.post("/questions", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert answer.json()["success"] is False
    assert answer.json()["message"]
    assert "DOE" not in answer.text


def test_text_that_no_encoding_can_hold_is_a_bad_form_and_no_error(client):
    body = b'{"series": [{"\\ud800": 3}]}'

    answer = client.post("/questions", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert "series.0" in answer.json()["message"]


def raised(error: Exception) -> Any:
    async def fail() -> None:
        raise error

    return fail


@pytest.fixture
def failing() -> TestClient:
    """A service with a route of each contract that fails as nobody expects, and one that refuses for good."""
    api = create_api("test", description="")
    inner_eye, inference = APIRouter(route_class=InnerEyeRoute), APIRouter(route_class=DetailRoute)
    inner_eye.add_api_route("/refused", raised(PermanentError("DOE^JANE")))
    for router, path in ((inner_eye, "/v1"), (inference, "/api"), (api, "/results")):
        router.add_api_route(path, raised(RuntimeError("DOE^JANE")))
    for router in (inner_eye, inference):
        api.include_router(router)
    return TestClient(api, raise_server_exceptions=False)


INNER_EYE_500 = {
    "code": "INTERNAL_SERVER_ERROR",
    "detail": "The server encountered an internal error. Please retry the request.",
    "status": 500,
    "title": "InternalError",
}
TEXT = "The server encountered an internal error."


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1", INNER_EYE_500),
        ("/refused", INNER_EYE_500),
        ("/api", {"detail": TEXT}),
        ("/results", {"success": False, "message": TEXT}),
    ],
)
def test_what_nobody_expected_is_500_in_the_words_of_the_routes_contract(failing, path, body):
    answer = failing.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/json")
    assert answer.json() == body


def test_what_nobody_expected_is_left_to_the_server_to_log(failing):
    with pytest.raises(RuntimeError), TestClient(failing.app) as client:
        client.get("/results")


def test_what_a_route_refuses_for_good_is_400_with_its_reason(client):
    answer = client.get("/refused")

    assert answer.status_code == 400
    assert answer.json() == {"success": False, "message": "expected a UID"}


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_above_the_limit_is_413_before_it_is_in_memory_and_without_a_token(client, declared):
    body = b"[" + b" " * LIMIT_BYTES + b"]"
    content = body if declared else iter([body[:600], body[600:]])

    answer = client.post(
        "/questions", content=content, headers={"Authorization": "", "Content-Type": "application/json"}
    )

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("token", "source", "status"),
    [
        ("any", "anything", 200),
        ("any", "x" * 129, 403),
        ("ward", "ward", 200),
        ("ward", "", 200),
        ("ward", "theatre", 403),
        ("before-scopes", "", 200),
        ("pacs", "", 403),
        ("old", "", 401),
        ("none", "", 401),
    ],
)
def test_every_route_takes_only_a_valid_token_with_its_scope_and_a_source_of_its_own(client, token, source, status):
    headers = {"Authorization": f"Bearer {token}", "Source": source}

    answer = client.post("/questions", json={"series": []}, headers=headers)

    assert answer.status_code == status


def test_an_address_or_a_method_that_is_not_there_is_refused_in_the_form_of_all_refusals():
    api = create_api("test", description="")
    api.get("/things/{name}")(lambda name: name)
    api.post("/things/{name}")(lambda name: name)
    client = TestClient(api)

    nowhere, not_so = client.get("/nowhere"), client.put("/things/1")

    assert (nowhere.status_code, nowhere.json()) == (404, {"success": False, "message": "Not Found"})
    assert (not_so.status_code, not_so.json()) == (405, {"success": False, "message": "Method Not Allowed"})
    assert not_so.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "ä", "a" * 65, "a\n", "-a"])
def test_an_institution_has_a_name_that_no_path_can_be_made_of(name):
    tokens = Records()

    with pytest.raises(InstitutionNameError, match="letters"):
        asyncio.run(create_token(tokens, institution=name, name="t"))  # type: ignore[arg-type]

    assert tokens.records == {}


@pytest.mark.parametrize("given", ["1.2.840.10008", "0.1", "1" * 64, "6f1a6e3c-0c6b-5d55-9d3c-3a51f7a3c0d1"])
def test_uids_and_ids_are_logged_as_they_are(given):
    assert id_for_log(given) == given


@pytest.mark.parametrize("given", ["", "DOE^JANE", "1234567", "1.2\n", "1." * 33 + "1", "1.2.x", "1" * 63, "1.\u0663"])
def test_what_may_be_a_name_or_a_patients_number_is_not_logged(given):
    assert id_for_log(given) == "other"
