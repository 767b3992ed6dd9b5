"""What every service answers when it has too much to do, and what it still answers then."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from radbus_runtime.dialects import DetailRoute, InnerEyeRoute
from radbus_runtime.health import health_routes
from radbus_runtime.http import create_api
from radbus_runtime.overload import OverloadedError


async def overloaded() -> None:
    raise OverloadedError("too much", retry_after_s=17)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/v1", {"code", "detail", "status", "title"}),
        ("/api", {"detail"}),
        ("/results", {"success", "message"}),
    ],
)
def test_too_much_is_503_in_the_words_of_the_routes_contract_with_its_own_time_to_wait(path, keys):
    api = create_api("test", description="")
    for prefix, kind in (("/v1", InnerEyeRoute), ("/api", DetailRoute)):
        router = APIRouter(route_class=kind)
        router.add_api_route(prefix, overloaded)
        api.include_router(router)
    api.add_api_route("/results", overloaded)

    answer = TestClient(api).get(path)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "17")
    assert set(answer.json()) == keys


async def test_beyond_a_number_of_requests_at_a_time_the_next_is_503_and_health_is_answered():
    api = create_api("test", description="", requests_at_a_time=1)
    inside, go_on = asyncio.Event(), asyncio.Event()

    @api.get("/slow")
    async def slow() -> str:
        inside.set()
        await go_on.wait()
        return "done"

    api.include_router(health_routes("test", {}))
    transport = httpx2.ASGITransport(app=api)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        first = asyncio.create_task(client.get("/slow"))
        await inside.wait()
        beside, health = await client.get("/slow"), await client.get("/healthz")
        go_on.set()
        answer = await first
        after = await client.get("/slow")

    assert (beside.status_code, int(beside.headers["retry-after"]) > 0, beside.json()["success"]) == (503, True, False)
    assert [each.status_code for each in (health, answer, after)] == [200, 200, 200]


async def test_a_note_is_told_at_readyz_and_makes_nothing_unready():
    async def refusing() -> str:
        return "refusing requests: disk"

    api = create_api("test", description="")
    api.include_router(health_routes("test", {}, {"admission": refusing}))

    answer = TestClient(api).get("/readyz")

    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    assert answer.json()["notes"] == {"admission": "refusing requests: disk"}
