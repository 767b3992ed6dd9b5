"""Each server killed under load and started again: what was accepted, before and meanwhile, has its one result."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.load import send

pytestmark = pytest.mark.stack

SERVERS = ["rabbitmq", "mongo", "s3", "triton"]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_killed_under_load_loses_and_doubles_nothing(radbus, hospital, make_load, balanced, server):
    before, meanwhile = make_load("sqcq"), make_load("qs")
    await send(hospital, before)

    radbus.kill(server)
    sending = asyncio.create_task(send(hospital, meanwhile))
    radbus.start(server)
    await asyncio.to_thread(radbus.wait_until_ready, server, timeout_s=60)
    await sending
    books = await balanced([*before, *meanwhile], timeout_s=120)

    assert books.states() == {"completed": len(before) + len(meanwhile)}
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)
