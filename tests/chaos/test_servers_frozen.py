"""Each server frozen under load until whoever waits for it gives up: what was accepted has its one result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx2
import pytest
from radbus_testing.servers import frozen, hung_up
from radbus_testing.waiting import eventually

from tests.chaos.load import send

pytestmark = pytest.mark.stack

SERVERS = ["rabbitmq", "mongo", "s3"]
CONNECTION_LOST = b"the connection to RabbitMQ was lost"  # the heartbeat was, after 35 s


def gave_up(radbus, server: str) -> Callable[[], bool]:
    """Make a condition: a client has given up a server, by hanging up or, of the broker, by its heartbeat."""
    if server != "rabbitmq":
        return lambda: hung_up(radbus.layout.port(server)) > 0
    log = radbus.layout.log("worker-0")  # it tells its slots all the time
    told_before = log.stat().st_size
    return lambda: CONNECTION_LOST in log.read_bytes()[told_before:]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_frozen_until_its_clients_hang_up_loses_and_doubles_nothing(
    radbus, hospital, make_load, balanced, server
):
    before, meanwhile = make_load("sqcq"), make_load("qs")
    await send(hospital, before)

    condition = gave_up(radbus, server)
    with frozen(radbus, server):
        sending = asyncio.create_task(send(hospital, meanwhile))
        await asyncio.to_thread(eventually, condition, timeout_s=60, what=f"client that gave up {server}")
    await sending
    books = await balanced([*before, *meanwhile], timeout_s=120)

    assert books.states() == {"completed": len(before) + len(meanwhile)}
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)


async def test_a_triton_frozen_until_its_workers_say_so_loses_and_doubles_nothing(
    radbus, hospital, make_load, balanced
):
    before, meanwhile = make_load("sqcq"), make_load("qs")
    await send(hospital, before)

    def is_unready(worker: str) -> bool:
        return httpx2.get(f"{radbus.url(worker)}/readyz", timeout=10).status_code == 503

    with frozen(radbus, "triton"):
        await send(hospital, meanwhile)
        for worker in ("worker-0", "worker-1"):
            await asyncio.to_thread(eventually, lambda w=worker: is_unready(w), timeout_s=30, what="unready worker")
    books = await balanced([*before, *meanwhile], timeout_s=120)

    assert books.states() == {"completed": len(before) + len(meanwhile)}
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)
