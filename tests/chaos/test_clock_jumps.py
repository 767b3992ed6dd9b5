"""The wall clock of one service after another jumps by an hour, and back: nothing is lost, doubled or stuck."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import httpx2
import pytest
from radbus_testing.clock import Clock, library
from radbus_testing.programs import service_running
from radbus_testing.waiting import eventually

from tests.chaos.load import send

pytestmark = pytest.mark.stack

JUMPS_S = {"ahead": 3600, "behind": -3600}
SERVICES = ["ingest", "router", "scheduler", "results", "worker-0"]


@pytest.fixture(scope="module")
def clocks(radbus, tmp_path_factory) -> Iterator[Mapping[str, Clock]]:
    """The clocks of the services, each its own, in the places of the stack's own."""
    if library() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("libfaketime is not installed: run `make install`")
    clocks = {service: Clock(tmp_path_factory.mktemp(service)) for service in SERVICES}
    with ExitStack() as opened:
        opened.callback(radbus.wait_until_ready, timeout_s=60)
        for service, clock in clocks.items():
            radbus.stop(service)
            opened.callback(radbus.start, service)
            environment = {**radbus.environment(), **clock.environment()}
            port, log = radbus.layout.port(service), tmp_path_factory.mktemp("logs") / f"{service}.log"
            name = service.partition("-")[0]
            opened.enter_context(service_running(name, environment, port=port, log=log))
        radbus.stop("worker-1")  # so that the one whose clock jumps has the tasks
        opened.callback(radbus.start, "worker-1")
        yield clocks


@pytest.fixture
def clock_of(clocks) -> Iterator[Mapping[str, Clock]]:
    yield clocks
    for clock in clocks.values():
        clock.jump(0)


@pytest.mark.parametrize("jump", JUMPS_S)
@pytest.mark.parametrize("service", ["router", "scheduler", "results"])
async def test_a_service_whose_clock_jumps_goes_on_as_if_it_had_not(
    clock_of, hospital, make_load, balanced, told, service, jump
):
    before, meanwhile, back = make_load("sq"), make_load("q"), make_load("q")

    await send(hospital, before)
    clock_of[service].jump(JUMPS_S[jump])
    await send(hospital, meanwhile)
    await balanced([*before, *meanwhile], told=told, timeout_s=60)
    clock_of[service].jump(0)
    await send(hospital, back)
    books = await balanced([*before, *meanwhile, *back], told=told, timeout_s=60)

    assert books.states() == {"completed": len(before) + len(meanwhile) + len(back)}


@pytest.mark.parametrize("jump", JUMPS_S)
@pytest.mark.parametrize("service", ["ingest", "worker-0"])
async def test_a_service_that_the_store_refuses_for_its_clock_says_so_and_goes_on_when_it_is_right(
    radbus, clock_of, hospital, make_load, balanced, told, service, jump
):
    before, meanwhile = make_load("sq"), make_load("q")

    def refused() -> str | None:
        checks = httpx2.get(f"{radbus.url(service)}/readyz", timeout=10).json()["checks"]
        return None if checks["objects"] == "ok" else checks["objects"]

    await send(hospital, before)
    clock_of[service].jump(JUMPS_S[jump])
    sending = asyncio.create_task(send(hospital, meanwhile))
    said = await asyncio.to_thread(eventually, refused, timeout_s=30, what=f"unready {service}")
    clock_of[service].jump(0)
    await sending
    books = await balanced([*before, *meanwhile], told=told, timeout_s=60)

    assert "RequestTimeTooSkewed" in said or "AccessDenied" in said
    assert books.states() == {"completed": len(before) + len(meanwhile)}
