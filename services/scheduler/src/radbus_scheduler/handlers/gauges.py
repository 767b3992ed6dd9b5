"""Counts for /metrics what waits and what runs, now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from radbus_contracts.errors import TransientError
from radbus_runtime.progress import beat
from radbus_storage.documents import Documents

from radbus_scheduler.adapters import metrics
from radbus_scheduler.adapters.queues import GAUGED, TaskQueues
from radbus_scheduler.adapters.workers import PoolSlots, Workers

log = structlog.get_logger(__name__)


class Gauges:
    """Keeps the gauges of the queues up to date."""

    def __init__(self, documents: Documents, queues: TaskQueues, workers: Workers, *, pools: Sequence[str]) -> None:
        self._documents = documents
        self._queues = queues
        self._workers = workers
        self._pools = pools

    async def run(self, every_s: float) -> None:
        """Count until cancelled."""
        while True:
            beat("gauges", within_s=60 + 2 * every_s)
            try:
                await self.count_once()
            except TransientError as error:
                log.warning("gauges.delayed", exc_info=error)
            await asyncio.sleep(every_s)

    async def count_once(self) -> None:
        """Count now."""
        for use_case in await self._queues.use_cases():
            metrics.expect_ends(use_case)
        counts = await self._queues.counts()
        slots = await self._workers.by_pool()
        now = await self._documents.now()
        # A pool that has nothing says 0: what scales by it must tell "none" from "not known".
        nothing = {(state, pool): 0 for state in GAUGED for pool in self._pools}
        metrics.tasks_now.clear()
        for (state, pool), count in {**nothing, **counts}.items():
            metrics.tasks_now.labels(state.value, pool).set(count)
        for pool in {*self._pools, *slots}:
            metrics.worker_slots.labels(pool).set(slots.get(pool, PoolSlots()).slots)
        for pool in self._pools:
            ready = await self._queues.candidates(pool, now=now, limit=1)
            oldest = min((candidate.ready_at for candidate in ready), default=now)
            metrics.oldest_ready_seconds.labels(pool).set((now - oldest).total_seconds())
