"""The dispatcher: gives ready tasks to the pools that have slots for them, deciding the order as late as it can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from radbus_contracts.errors import TransientError
from radbus_runtime.progress import beat
from radbus_storage.documents import Documents

from radbus_scheduler.adapters import metrics
from radbus_scheduler.adapters.queues import TaskQueues
from radbus_scheduler.adapters.turns import DispatchTurn
from radbus_scheduler.adapters.workers import Workers
from radbus_scheduler.domain.changes import dispatched
from radbus_scheduler.domain.choice import Candidate, Policy, Share, choose
from radbus_scheduler.handlers.ledger import Ledger

log = structlog.get_logger(__name__)

_OTHER_REPLICA_S = 0.05
_PER_QUEUE_LIMIT = 100


class Nudge:
    """Wakes the dispatcher at once when a job has changed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def give(self) -> None:
        """Wake it."""
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Wait until nudged, at most so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return
        self._event.clear()


@dataclass(frozen=True, slots=True)
class DispatchRules:
    """By what is dispatched, how far ahead, and how long a job may take from then on."""

    policy: Policy
    look_ahead: int
    every_s: float
    deadline_s: float


class Dispatcher:
    """One of any number of replicas: the free slots are filled by one at a time, each task by a compare-and-set."""

    def __init__(
        self,
        documents: Documents,
        queues: TaskQueues,
        workers: Workers,
        turn: DispatchTurn,
        ledger: Ledger,
        *,
        rules: DispatchRules,
        nudge: Nudge,
    ) -> None:
        self._documents = documents
        self._queues = queues
        self._workers = workers
        self._turn = turn
        self._ledger = ledger
        self._rules = rules
        self._nudge = nudge

    async def run(self) -> None:
        """Dispatch until cancelled."""
        wait_s = self._rules.every_s
        while True:
            beat("dispatcher", within_s=60 + 2 * self._rules.every_s)
            await self._nudge.wait(wait_s)
            try:
                had_its_turn = await self.dispatch_once()
            except TransientError as error:
                log.warning("dispatch.delayed", exc_info=error)
                had_its_turn = True
                await asyncio.sleep(self._rules.every_s)
            wait_s = self._rules.every_s if had_its_turn else min(_OTHER_REPLICA_S, self._rules.every_s)

    async def dispatch_once(self) -> bool:
        """Fill the free slots; False when another replica does so just now."""
        _, free = await self._free_slots()
        if not free or not await self._queues.is_any_ready(free, await self._documents.now()):
            return True
        if not await self._turn.take():
            return False
        try:
            await self._fill()
        finally:
            await self._turn.give_back()
        return True

    async def _free_slots(self) -> tuple[dict[Share, int], dict[str, int]]:
        shares = await self._queues.shares()
        free = {
            pool: found.slots + self._rules.look_ahead - sum(count for (at, _), count in shares.items() if at == pool)
            for pool, found in (await self._workers.by_pool()).items()
            if found.slots
        }
        return shares, {pool: slots for pool, slots in free.items() if slots > 0}

    async def _fill(self) -> None:
        # Counted again: what another replica dispatched in its turn just before is in flight too.
        shares, free = await self._free_slots()
        now = await self._documents.now()
        candidates = await self._candidates(free, now)
        policy = self._rules.policy
        for chosen in choose(candidates, free_slots_by_pool=free, in_flight=shares, policy=policy, now=now):
            await self._dispatch(chosen)

    async def _candidates(self, free: dict[str, int], now: datetime) -> Sequence[Candidate]:
        found: list[Candidate] = []
        for pool, slots in free.items():
            found += await self._queues.candidates(pool, now=now, limit=min(slots, _PER_QUEUE_LIMIT))
        return found

    async def _dispatch(self, chosen: Candidate) -> None:
        deadline_s = self._rules.deadline_s
        after = await self._ledger.change(
            chosen.job_id,
            lambda job, now: dispatched(job, chosen.task_id, attempt=chosen.attempt, now=now, deadline_s=deadline_s),
        )
        task = after.task(chosen.task_id) if after else None
        if task is None or task.dispatched_at is None:
            return
        waited_s = (task.dispatched_at - max(chosen.ready_at, task.not_before)).total_seconds()
        metrics.queue_wait_seconds.labels(task.pool, chosen.priority.value).observe(max(0.0, waited_s))
        log.info(
            "task.dispatched",
            job_id=chosen.job_id,
            task_id=task.id,
            attempt=task.attempt,
            pool=task.pool,
            waited_s=round(waited_s, 3),
        )
