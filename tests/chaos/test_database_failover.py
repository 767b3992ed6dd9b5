"""All services on a replica set of three whose primary dies under load: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from radbus_cli.local.replica_set import ReplicaSet, replica_set
from radbus_cli.local.stack import LocalStack

from tests.chaos.load import send
from tests.conftest import new_hospital

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def nodes(radbus) -> Iterator[ReplicaSet]:
    with replica_set(radbus.layout) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def on_three(radbus, nodes) -> Iterator[LocalStack]:
    """The stack, with its services on the set of three instead of the single node."""
    given = {**os.environ, "RADBUS_MONGO_URL": nodes.url}
    machines = radbus.environment()["RADBUS_MACHINES_DIR"]
    stack = LocalStack(radbus.layout.root, radbus.layout.base_port, given={**given, "RADBUS_MACHINES_DIR": machines})
    try:
        stack.up()
        yield stack
    finally:
        radbus.up()


@pytest.fixture
def hospital(on_three):
    return new_hospital(on_three)


async def test_a_primary_killed_under_load_loses_and_doubles_nothing(on_three, nodes, hospital, make_load, balanced):
    before, meanwhile = make_load("sqcq"), make_load("qs")
    await send(hospital, before)
    primary = await asyncio.to_thread(nodes.primary)

    nodes.kill(primary)
    refusals = await send(hospital, meanwhile)
    books = await balanced([*before, *meanwhile], timeout_s=120)
    second = await asyncio.to_thread(nodes.primary)
    nodes.start(primary)

    print(f"refused meanwhile: {len(refusals)}")  # noqa: T201 - for docs/reliability.md
    assert second != primary
    assert books.states() == {"completed": len(before) + len(meanwhile)}
    await asyncio.to_thread(on_three.wait_until_ready, timeout_s=60)
