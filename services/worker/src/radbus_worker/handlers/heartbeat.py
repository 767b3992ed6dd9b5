"""The heartbeat: tells the scheduler every few seconds, and at every change, how many slots there are."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from radbus_contracts.facts import WorkerHeartbeatV1
from radbus_runtime.progress import beat

from radbus_worker.adapters.courtesies import Courtesies
from radbus_worker.domain.slots import Slots

log = structlog.get_logger(__name__)


class Heartbeat:
    """Beats until cancelled."""

    def __init__(self, courtesies: Courtesies, slots: Slots, *, worker: str, pool: str, every_s: float) -> None:
        self._courtesies = courtesies
        self._slots = slots
        self._worker = worker
        self._pool = pool
        self._every_s = every_s
        self._draining = False
        self._changed = asyncio.Event()
        slots.watch(self._changed.set)

    async def run(self) -> None:
        """Tell at once, then at every change and at least every `every_s`."""
        log.info("worker.announced", worker=self._worker, pool=self._pool, slots=self._slots.total)
        while True:
            self._changed.clear()
            beat("heartbeat", within_s=60 + 2 * self._every_s)
            await self._beat()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._changed.wait()

    async def drain(self) -> None:
        """Tell that no more tasks are wanted."""
        self._draining = True
        await self._beat()

    async def _beat(self) -> None:
        await self._courtesies.heartbeat(
            WorkerHeartbeatV1(
                worker=self._worker,
                pool=self._pool,
                slots=self._slots.total,
                busy=self._slots.busy,
                draining=self._draining or self._slots.closed,
            )
        )
