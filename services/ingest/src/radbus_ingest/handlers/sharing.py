"""Writes that can stand for one another: whoever comes while one is under way shares the next one with all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable


class SharedWrites:
    """Makes one write of those that are asked for at the same time under the same key.

    A write begins after everybody who shares it has asked for it, so that what they did before is done before it.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, asyncio.Task[None]] = {}
        self._under_way: dict[Hashable, asyncio.Task[None]] = {}

    async def __call__(self, key: Hashable, write: Callable[[], Awaitable[None]]) -> None:
        """Return when a write that began after this call has ended; its error is raised for all who share it."""
        task = self._waiting.get(key)
        if task is None:
            task = self._waiting[key] = asyncio.create_task(self._next(key, write))
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.shield(task)  # one who leaves does not take it from the others

    async def _next(self, key: Hashable, write: Callable[[], Awaitable[None]]) -> None:
        before = self._under_way.get(key)
        if before is not None:
            await asyncio.wait([before])
        own = self._under_way[key] = self._waiting.pop(key)
        try:
            await write()
        finally:
            if self._under_way[key] is own:
                del self._under_way[key]
