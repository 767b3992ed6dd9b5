"""What callers show and ask with: tokens, cursors, lengths and JSON of any form give an answer or a refusal."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue
from radbus_runtime.auth.signed import InvalidJwtError, unverified_claims, unverified_key_id, verified_claims
from radbus_runtime.cursors import CursorError, cursor_of, place_of
from radbus_runtime.http import create_api, declared_bytes
from starlette.datastructures import Headers

from tests.unit.fuzz.effort import fuzzed

SECRET = "k" * 32
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
CLAIMS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "exp", "nbf", "iss", "aud", "sub", "jti", "username", "zip"]),
    JSONS,
)


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


TOKENS = (
    st.text(max_size=60)
    | st.builds("{}.{}.{}".format, *[st.binary(max_size=30).map(encoded)] * 3)
    | st.builds(
        "{}.{}.{}".format, *[CLAIMS.map(lambda claims: encoded(json.dumps(claims).encode()))] * 2, st.just("AAAA")
    )
)


@fuzzed
@given(TOKENS)
@example(f"{encoded(b'[' * 5000)}.{encoded(b'{}')}.AAAA")
@example(f"{encoded(json.dumps({'alg': 'HS256'}).encode())}.{encoded(b'[' * 5000)}.AAAA")
@example(f"{encoded(json.dumps({'alg': 'HS256', 'crit': [1e999]}).encode())}.{encoded(b'{}')}.AAAA")
def test_any_text_is_a_valid_jwt_or_is_refused(token):
    assert unverified_claims(token) is not None
    unverified_key_id(token)

    for algorithms in (["HS256"], ["RS256"]):
        with pytest.raises(InvalidJwtError):
            verified_claims(token, SECRET, algorithms=algorithms, require=["exp"], issuer="radbus", audience="x")


@fuzzed
@given(st.text(max_size=200) | st.binary(max_size=60).map(encoded) | st.datetimes().map(lambda at: cursor_of(at, "1")))
@example(encoded(b"0001-01-01T00:00:00+23:59|1"))
def test_any_text_is_a_cursor_or_is_refused(cursor):
    with suppress(CursorError):
        assert place_of(cursor).id


@fuzzed
@given(st.text(st.characters(max_codepoint=255), max_size=40) | st.integers().map(str))
@example("9" * 5000)
@example("\N{SUPERSCRIPT TWO}")
def test_any_declared_length_is_a_number(given_length):
    assert declared_bytes(Headers({"content-length": given_length})) >= 0


class Body(BaseModel):
    value: dict[str, JsonValue]


@pytest.fixture(scope="module")
def api() -> FastAPI:
    api = create_api("fuzz", description="", body_limit_bytes=100_000)

    @api.post("/")
    async def post(body: Body) -> dict[str, int]:
        return {"keys": len(body.value)}

    return api


@fuzzed
@given(
    JSONS.map(lambda value: json.dumps({"value": value}).encode())
    | st.binary(max_size=50)
    | st.sampled_from(
        [b"[" * 90_000, b'{"value":' * 10_000, b'{"value": {"a": 1e999}}', b'{"value": {"a": ' + b"9" * 5000]
    )
)
def test_any_body_of_a_json_route_is_answered_and_is_no_fault_of_the_server(api, body):
    async def post() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=api), base_url="http://radbus") as http:
            return await http.post("/", content=body, headers={"Content-Type": "application/json"})

    answer = asyncio.run(post())

    assert answer.status_code in (200, 400, 422)
    assert answer.headers["content-type"] == "application/json"
