"""Doing several things at once."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from radbus_contracts.errors import PermanentError
from radbus_worker.adapters.together import all_of


async def test_results_come_in_the_given_order():
    async def later(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    assert await all_of([partial(later, turns) for turns in (5, 1, 3)], at_a_time=2) == [5, 1, 3]


async def test_no_more_is_done_at_a_time_than_allowed():
    running, most = 0, 0

    async def counted() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await all_of([counted] * 10, at_a_time=3)

    assert most == 3


async def test_the_first_error_is_raised_as_it_is_and_the_rest_is_cancelled():
    cancelled = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def fails() -> None:
        await asyncio.sleep(0)
        raise PermanentError("expected better")

    with pytest.raises(PermanentError, match="expected better"):
        await all_of([waits, fails], at_a_time=2)

    assert cancelled.is_set()
