"""The slots of a worker: how many tasks it may run at a time, and who wants to know when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Slots:
    """A bounded count of running tasks; everything happens in one event loop."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.busy = 0
        self.closed = False
        self._free = asyncio.Semaphore(total)
        self._watchers: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """Whether no slot is free."""
        return self.busy >= self.total

    def close(self) -> None:
        """Want no tasks for now; those that run go on."""
        self._become(closed=True)

    def open(self) -> None:
        """Want tasks again."""
        self._become(closed=False)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` whenever a slot is taken or given back, and when the slots are closed or opened."""
        self._watchers.append(watcher)

    async def take(self) -> None:
        """Wait for a free slot and take it."""
        await self._free.acquire()
        self.busy += 1
        self._tell()

    def give_back(self) -> None:
        """Give a slot back."""
        self.busy -= 1
        self._free.release()
        self._tell()

    def _become(self, *, closed: bool) -> None:
        if self.closed is not closed:
            self.closed = closed
            self._tell()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()
