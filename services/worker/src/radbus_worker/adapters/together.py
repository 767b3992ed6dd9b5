"""Doing several things at once where the first failure is the failure of all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def all_of(work: Iterable[Callable[[], Awaitable[T]]], *, at_a_time: int) -> list[T]:
    """Do everything, `at_a_time` at a time; the first error cancels the rest and is raised as it is."""
    free = asyncio.Semaphore(at_a_time)

    async def one(item: Callable[[], Awaitable[T]]) -> T:
        async with free:
            return await item()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in work]
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
