"""The routes of `/compute`, asked in memory: each answer as the results API has it, to the byte."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from radbus_router.domain.requesting import AlreadyPushed, Answer, NotUploaded, NoUseCase, Pushed, TooOften
from radbus_router.handlers.compute_routes import compute_routes
from radbus_runtime.audit.codes import Kind
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.http import create_api
from structlog.testing import capture_logs


@dataclass
class Requests:
    """Answers what it is told to, and keeps what it was asked."""

    answer: Answer = field(default_factory=Pushed)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    async def ask(self, institution: str, uid: str, *, recompute: bool) -> Answer:
        self.asked.append((institution, uid, recompute))
        return self.answer


def a_reader(needed: AccessScope, _: Kind) -> object:
    """Know a caller that may only read, or with another token everything."""

    async def authenticate(request: Request) -> Principal:
        scopes = frozenset(AccessScope) if request.headers["authorization"] == "Token all" else {AccessScope.READ}
        principal = Principal("north", "test", scopes=frozenset(scopes))
        principal.require(needed)
        return principal

    return authenticate


def client_of(requests: Requests, requires: Requires = a_reader) -> TestClient:
    api = create_api("router", description="")
    api.include_router(compute_routes(requests, requires))
    return TestClient(api, headers={"Authorization": "Token all"}, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (
            Pushed(("job",)),
            200,
            b'{"message":"series_instance_uid successfully pushed for computation!","success":true}',
        ),
        (AlreadyPushed(), 304, b""),
        (
            NotUploaded(),
            404,
            b'{"success":false,"message":"Resource with SeriesInstanceUID 1.2 is not yet uploaded!"}',
        ),
        (
            NoUseCase("No."),
            400,
            (
                b'{"success":false,"message":"Use case not implemented.","usecase":"not_implemented",'
                b'"debug_info":{"reason":"No."},"result":{}}'
            ),
        ),
        (
            TooOften(),
            429,
            b'{"success":false,"message":"expected at most 100 computations of the same images"}',
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_answer_has_its_status_and_its_body(method: str, answer: Answer, status: int, body: bytes) -> None:
    got = client_of(Requests(answer)).request(method, "/compute/1.2")

    assert (got.status_code, got.content) == (status, body)
    assert got.headers.get("content-type") == (None if status == 304 else "application/json")
    assert ("content-length" in got.headers) is (status != 304)


@pytest.mark.parametrize(
    ("body", "recompute"),
    [
        (b"", False),
        (b" \r\n", False),
        (b"{}", False),
        (b'{"recompute": true}', True),
        (b'{"recompute":false}', False),
        (b'{"recompute": true, "other": 1}', True),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_body_may_say_whether_to_recompute_whatever_its_media_type(method: str, body: bytes, recompute: bool) -> None:
    requests = Requests()

    client_of(requests).request(method, "/compute/1.2", content=body)
    client_of(requests).request(method, "/compute/1.2", content=body, headers={"Content-Type": "application/json"})

    assert requests.asked == [("north", "1.2", recompute)] * 2


@pytest.mark.parametrize(
    "body",
    [b"recompute=true", b"[]", b"null", b'{"recompute": "true"}', b'{"recompute": 1}', b"\xff{}", b"[" * 4000],
)
def test_a_body_of_another_form_is_refused_with_what_was_expected(body: bytes) -> None:
    requests = Requests()

    got = client_of(requests).request("GET", "/compute/1.2", content=body)

    assert got.status_code == 400
    assert got.json() == {
        "success": False,
        "message": 'expected no body, or JSON: {"recompute": true}, {"recompute": false} or {"rerun": "<job id>"}',
    }
    assert requests.asked == []


def test_a_body_that_is_too_large_to_mean_anything_is_refused() -> None:
    got = client_of(Requests()).post("/compute/1.2", content=b" " * 5000)

    assert (got.status_code, got.json()["success"]) == (413, False)


def test_a_caller_that_may_only_read_is_refused() -> None:
    got = client_of(Requests()).get("/compute/1.2", headers={"Authorization": "Token read"})

    assert (got.status_code, got.json()) == (403, {"success": False, "message": "Access denied!"})


def test_what_is_no_uid_is_not_in_the_logs() -> None:
    with capture_logs() as lines:
        client_of(Requests(NotUploaded())).get("/compute/DOE%5EJANE")

    assert [(line["event"], line["uid"]) for line in lines] == [("compute.answered", "other")]
