"""A small body is read within its size and its time, and a client may leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import HTTPException, Request
from radbus_runtime.auth.login import login_routes
from radbus_runtime.bodies import BodyError, small_body
from radbus_runtime.http import create_api

from tests.unit.runtime.memory import Records

LOGIN = "/api/auth/jwt_login/"


def scope_of(path: str) -> dict[str, Any]:
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path, "headers": []}
    return {**scope, "raw_path": path.encode(), "query_string": b"", "root_path": "", "server": ("test", 80)}


def request_of(*messages: dict[str, Any]) -> Request:
    """Make a request of which these messages come, and then nothing more."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        return left.pop(0) if left else await asyncio.Event().wait()  # type: ignore[return-value]

    return Request(scope_of("/"), receive)


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_of_several_pieces_is_read_whole():
    request = request_of(piece(b"a" * 6), piece(b"b" * 4, more=False))

    assert await small_body(request, limit_bytes=10) == b"aaaaaabbbb"


async def test_a_body_above_the_limit_is_413_before_its_end():
    with pytest.raises(HTTPException) as refused:
        await small_body(request_of(piece(b"a" * 6), piece(b"b" * 5)), limit_bytes=10)

    assert refused.value.status_code == 413


async def test_a_body_that_stops_coming_is_not_waited_for():
    with pytest.raises(BodyError, match=r"within 0\.01 s"):
        await small_body(request_of(piece(b"a")), limit_bytes=10, within_s=0.01)


async def test_a_client_that_leaves_within_its_login_is_refused_and_no_error(make_settings):
    api = create_api("test", description="")
    api.include_router(login_routes({"users": Records()}, make_settings()))  # type: ignore[arg-type]
    messages, sent = [piece(b'{"jwt": '), {"type": "http.disconnect"}], []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await api(scope_of(LOGIN), receive, send)

    assert sent[0]["status"] == 400
    assert sent[1]["body"] == b'{"detail":"expected more of the body; the client went away"}'
