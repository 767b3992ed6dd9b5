"""The reaper: gives up attempts of which nothing more will come, and jobs whose deadline has passed."""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog
from radbus_contracts.errors import TransientError
from radbus_contracts.facts import TaskStartedV1
from radbus_contracts.identity import outcome_id
from radbus_runtime.progress import beat
from radbus_storage.documents import Documents

from radbus_scheduler.adapters import metrics
from radbus_scheduler.adapters.jobs import Jobs
from radbus_scheduler.adapters.leases import Leases, lease_id
from radbus_scheduler.adapters.queues import Flight, TaskQueues
from radbus_scheduler.adapters.workers import Workers
from radbus_scheduler.domain.changes import Backoff, expired, given_back, lost, started
from radbus_scheduler.domain.limits import GIVEN_BACK, Evidence, Finding, GivenBack, Limits, Lost, Started, judge
from radbus_scheduler.handlers.ledger import Ledger

log = structlog.get_logger(__name__)

_DEADLINES_LIMIT = 200


class IdlePools:
    """Since when each pool has had a free slot all the time. Forgotten at a restart, which only lengthens the wait."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._since: dict[str, datetime] = {}

    async def look(self, now: datetime) -> dict[str, datetime]:
        """Look at the pools and return those that are idle, with the time since when they have been."""
        pools = await self._workers.by_pool()
        self._since = {pool: self._since.get(pool, now) for pool, found in pools.items() if found.slots > found.busy}
        return self._since


class Reaper:
    """One of any number of replicas: each finding is applied by a compare-and-set."""

    def __init__(
        self,
        documents: Documents,
        jobs: Jobs,
        queues: TaskQueues,
        leases: Leases,
        idle_pools: IdlePools,
        ledger: Ledger,
        *,
        limits: Limits,
        backoff: Backoff,
    ) -> None:
        self._documents = documents
        self._jobs = jobs
        self._queues = queues
        self._leases = leases
        self._idle_pools = idle_pools
        self._ledger = ledger
        self._limits = limits
        self._backoff = backoff

    async def run(self, every_s: float) -> None:
        """Reap until cancelled."""
        while True:
            beat("reaper", within_s=60 + 2 * every_s)
            await asyncio.sleep(every_s)
            try:
                await self.reap_once()
            except TransientError as error:
                log.warning("reaping.delayed", exc_info=error)

    async def reap_once(self) -> None:
        """Look once at all that is in flight, and at the deadlines."""
        now = await self._documents.now()
        for job_id in await self._jobs.past_deadline(now, limit=_DEADLINES_LIMIT):
            await self._ledger.change(job_id, expired)
        idle = await self._idle_pools.look(now)
        flights = await self._queues.in_flight()
        leases = await self._leases.of(flights)
        outcomes = await self._leases.with_outcome(flights)
        for flight in flights:
            evidence = Evidence(
                lease=leases.get(lease_id(flight)),
                has_outcome=outcome_id(flight.job_id, flight.task.id, flight.task.attempt) in outcomes,
                idle_since=idle.get(flight.task.pool),
            )
            finding = judge(flight.task, evidence, limits=self._limits, now=now)
            if finding is not None:
                await self._apply(flight, finding)

    async def _apply(self, flight: Flight, finding: Finding) -> None:
        job_id, task, attempt = flight.job_id, flight.task.id, flight.task.attempt
        match finding:
            case Started(worker):
                told = TaskStartedV1(job_id=job_id, task_id=task, attempt=attempt, worker=worker)
                await self._ledger.change(job_id, lambda job, now: started(job, told, now))
                return
            case GivenBack():
                why = GIVEN_BACK
                after = await self._ledger.change(
                    job_id, lambda job, now: given_back(job, task, attempt=attempt, now=now)
                )
            case Lost(why):
                after = await self._ledger.change(
                    job_id,
                    lambda job, now: lost(job, task, attempt=attempt, reason=why, now=now, backoff=self._backoff),
                )
        if after is not None:
            metrics.attempts_given_up.labels(flight.task.pool, why).inc()
            log.warning(
                "attempt.given_up", job_id=job_id, task_id=task, attempt=attempt, why=why, worker=flight.task.worker
            )
