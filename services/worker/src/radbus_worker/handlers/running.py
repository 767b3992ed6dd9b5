"""The attempts in work: each an asyncio task of its own, which no lost connection to the broker cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_END_S = 10.0


class Running:
    """Owns the attempts' tasks."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._ready = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Own the attempts until cancelled, which cancels them."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._ready.set()
            await asyncio.Event().wait()

    async def ready(self) -> None:
        """Wait until attempts can be started."""
        await self._ready.wait()

    def start(self, attempt: Coroutine[Any, Any, None], *, when_done: Callable[[], None]) -> None:
        """Let an attempt run; `when_done` is called at its end, however it ends."""
        if self._group is None:
            raise RuntimeError("attempts are started after `ready`")
        task = self._group.create_task(attempt)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: when_done())

    async def drain(self, timeout_s: float) -> None:
        """Wait for the attempts to end; cancel those that take longer, which gives their leases up."""
        if not self._tasks:
            return
        log.info("attempts.awaited", count=len(self._tasks), timeout_s=timeout_s)
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_END_S)
