"""Facts that are told once, straight, and missed without harm: heartbeats, starts, progress."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from radbus_contracts.envelope import Payload
from radbus_contracts.errors import TransientError
from radbus_contracts.facts import TaskProgressedV1, TaskStartedV1, WorkerHeartbeatV1
from radbus_contracts.topology import TASK_PROGRESSED, TASK_STARTED, WORKER_HEARTBEAT, Fact
from radbus_runtime.bus import Bus
from radbus_runtime.events import Teller

from radbus_worker.domain.claims import Claim

log = structlog.get_logger(__name__)

_NO_INSTITUTION = "-"  # a worker serves them all


@dataclass(frozen=True, slots=True)
class Courtesies:
    """Says them; the scheduler's reaper does without."""

    bus: Bus
    teller: Teller
    worker: str

    async def heartbeat(self, beat: WorkerHeartbeatV1) -> None:
        """Tell that the worker is alive and how many slots it has."""
        await self._tell(WORKER_HEARTBEAT, beat, subject=self.worker, institution=_NO_INSTITUTION)

    async def started(self, claim: Claim) -> None:
        """Tell that an attempt has begun."""
        order = claim.order
        data = TaskStartedV1(job_id=order.job_id, task_id=order.task_id, attempt=order.attempt, worker=self.worker)
        await self._tell(TASK_STARTED, data, subject=order.job_id, institution=claim.institution)

    async def progressed(self, claim: Claim, progress: float) -> None:
        """Tell how far an attempt is, from 0 to 1."""
        order = claim.order
        data = TaskProgressedV1(
            job_id=order.job_id, task_id=order.task_id, attempt=order.attempt, progress=min(1.0, max(0.0, progress))
        )
        await self._tell(TASK_PROGRESSED, data, subject=order.job_id, institution=claim.institution)

    async def _tell(self, fact: Fact, data: Payload, *, subject: str, institution: str) -> None:
        try:
            await self.bus.publish(self.teller.tell(fact, data, subject=subject, institution=institution))
        except TransientError as error:
            log.info("courtesy.missed", fact=fact.type, exc_info=error)
