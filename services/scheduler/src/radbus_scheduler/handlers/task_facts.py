"""What the workers tell: heartbeats, and how their tasks go."""

from __future__ import annotations

import structlog
from radbus_contracts.envelope import Event
from radbus_contracts.facts import (
    TaskFailedV1,
    TaskProgressedV1,
    TaskStartedV1,
    TaskSucceededV1,
    WorkerHeartbeatV1,
)

from radbus_scheduler.adapters import metrics
from radbus_scheduler.adapters.workers import Workers
from radbus_scheduler.domain.changes import Backoff, failed, progressed, started, succeeded
from radbus_scheduler.domain.job import Job
from radbus_scheduler.handlers.ledger import Ledger

log = structlog.get_logger(__name__)

TaskFact = TaskStartedV1 | TaskProgressedV1 | TaskSucceededV1 | TaskFailedV1


class TaskFacts:
    """Moves tasks on by what their workers tell; what comes twice or too late changes nothing."""

    def __init__(self, ledger: Ledger, workers: Workers, *, backoff: Backoff) -> None:
        self._ledger = ledger
        self._workers = workers
        self._backoff = backoff

    async def on_heartbeat(self, event: Event[WorkerHeartbeatV1]) -> None:
        """Keep a worker's slots."""
        await self._workers.heard_of(event.data)

    async def on_started(self, event: Event[TaskStartedV1]) -> None:
        """A worker runs the task."""
        told = event.data
        after = await self._ledger.change(told.job_id, lambda job, now: started(job, told, now))
        _log("task.started", told, after)
        task = after.task(told.task_id) if after else None
        if task is not None and task.dispatched_at is not None and task.started_at is not None:
            metrics.dispatch_seconds.labels(task.pool).observe((task.started_at - task.dispatched_at).total_seconds())

    async def on_progressed(self, event: Event[TaskProgressedV1]) -> None:
        """The task is further on."""
        told = event.data
        await self._ledger.change(told.job_id, lambda job, _: progressed(job, told))

    async def on_succeeded(self, event: Event[TaskSucceededV1]) -> None:
        """An attempt has succeeded; the first one wins."""
        told = event.data
        _log("task.succeeded", told, await self._ledger.change(told.job_id, lambda job, now: succeeded(job, told, now)))

    async def on_failed(self, event: Event[TaskFailedV1]) -> None:
        """An attempt has failed: another one, or the end of its job."""
        told = event.data
        after = await self._ledger.change(
            told.job_id, lambda job, now: failed(job, told, now=now, backoff=self._backoff)
        )
        _log("task.failed", told, after)


def _log(event: str, told: TaskFact, after: Job | None) -> None:
    log.info(
        event,
        job_id=told.job_id,
        task_id=told.task_id,
        attempt=told.attempt,
        used=after is not None,
        worker=getattr(told, "worker", None),
    )
