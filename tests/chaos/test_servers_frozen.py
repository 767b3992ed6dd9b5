"""Each server frozen under load until whoever waits for it gives up: what was accepted has its one result."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from radbus_testing.servers import frozen, hung_up
from radbus_testing.waiting import eventually

from tests.chaos.load import measured, send

pytestmark = pytest.mark.stack

# Where clients ask each server; their deadlines are 35 s (heartbeats), 10 s and 30 s.
PORTS = {"rabbitmq": "amqp", "mongo": "mongo", "s3": "s3"}


@pytest.mark.parametrize("server", PORTS)
async def test_a_server_frozen_until_its_clients_hang_up_loses_and_doubles_nothing(
    radbus, hospital, make_load, balanced, server
):
    before, meanwhile = make_load("sqcq"), make_load("qs")
    await send(hospital, before)
    found = []

    with measured(f"{server} frozen", found):
        with frozen(radbus, server):
            sending = asyncio.create_task(send(hospital, meanwhile))
            port = radbus.layout.port(PORTS[server])
            await asyncio.to_thread(eventually, lambda: hung_up(port), timeout_s=60, what=f"client gave up {server}")
        await sending
        found.append(await balanced([*before, *meanwhile], timeout_s=120))

    assert found[0].states() == {"completed": len(before) + len(meanwhile)}
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)


async def test_a_triton_frozen_until_its_workers_say_so_loses_and_doubles_nothing(
    radbus, hospital, make_load, balanced
):
    before, meanwhile = make_load("sqcq"), make_load("qs")
    await send(hospital, before)
    found = []

    def is_unready(worker: str) -> bool:
        return httpx2.get(f"{radbus.url(worker)}/readyz", timeout=10).status_code == 503

    with measured("triton frozen", found):
        with frozen(radbus, "triton"):
            await send(hospital, meanwhile)
            for worker in ("worker-0", "worker-1"):
                await asyncio.to_thread(eventually, lambda w=worker: is_unready(w), timeout_s=30, what="unready worker")
        found.append(await balanced([*before, *meanwhile], timeout_s=120))

    assert found[0].states() == {"completed": len(before) + len(meanwhile)}
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)
