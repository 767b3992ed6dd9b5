"""The wall clock of one service after another jumps an hour ahead, and back: nothing is lost, doubled or stuck."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest
from radbus_testing.clock import Clock, library
from radbus_testing.programs import service_running

from tests.chaos.load import measured, send

pytestmark = pytest.mark.stack

HOUR_S = 3600
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


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_whose_clock_jumps_ahead_and_back_goes_on_and_loses_and_doubles_nothing(
    clock_of, hospital, make_load, balanced, told, service
):
    before, ahead, back = make_load("sq"), make_load("qs"), make_load("q")
    found = []

    with measured(f"clock of {service} jumped", found):
        await send(hospital, before)
        clock_of[service].jump(HOUR_S)
        # An ingest an hour ahead is refused by the object store, and says so; the others are not hindered.
        sending = asyncio.create_task(send(hospital, ahead))
        if service != "ingest":
            await sending
        await balanced(before, told=told, timeout_s=60)
        clock_of[service].jump(0)
        await sending
        await send(hospital, back)
        found.append(await balanced([*before, *ahead, *back], told=told, timeout_s=60))

    assert found[0].states() == {"completed": len(before) + len(ahead) + len(back)}
