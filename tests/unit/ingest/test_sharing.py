"""Writes that are asked for at the same time are one, which begins after all of them were asked for."""

from __future__ import annotations

import asyncio

import pytest
from radbus_contracts.errors import TransientError
from radbus_ingest.handlers.sharing import SharedWrites


class Writes:
    """Counts writes, each of which ends when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Semaphore(0)
        self.fails = False

    async def __call__(self) -> None:
        self.begun += 1
        await self.go_on.acquire()
        if self.fails:
            raise TransientError("away")


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_comes_while_a_write_is_under_way_shares_the_next_one():
    shared, writes = SharedWrites(), Writes()

    first = asyncio.create_task(shared("key", writes))
    await turns()
    others = [asyncio.create_task(shared("key", writes)) for _ in range(5)]
    await turns()
    begun_beside_the_first = writes.begun
    writes.go_on.release()
    await first
    ended_with_the_first = [each.done() for each in others]
    writes.go_on.release()
    await asyncio.gather(*others)

    assert begun_beside_the_first == 1
    assert not any(ended_with_the_first)
    assert writes.begun == 2


async def test_writes_under_other_keys_do_not_wait():
    shared, writes = SharedWrites(), Writes()

    both = [asyncio.create_task(shared(key, writes)) for key in ("one", "two")]
    await turns()

    assert writes.begun == 2
    writes.go_on.release()
    writes.go_on.release()
    await asyncio.gather(*both)


async def test_a_write_that_fails_fails_for_all_who_share_it_and_not_for_the_next():
    shared, writes = SharedWrites(), Writes()
    writes.fails = True

    sharing = [asyncio.create_task(shared("key", writes)) for _ in range(3)]
    await turns()
    writes.go_on.release()
    await asyncio.wait(sharing)
    writes.fails = False
    writes.go_on.release()
    await shared("key", writes)

    assert [type(each.exception()) for each in sharing] == [TransientError] * 3
    assert writes.begun == 2


async def test_one_who_leaves_does_not_take_the_write_from_the_others():
    shared, writes = SharedWrites(), Writes()

    leaving, staying = (asyncio.create_task(shared("key", writes)) for _ in range(2))
    await turns()
    leaving.cancel()
    writes.go_on.release()

    await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert writes.begun == 1
