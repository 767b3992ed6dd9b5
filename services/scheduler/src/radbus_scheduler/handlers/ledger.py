"""The one way in which a job is made or changed: decide on what was read, write it with what it tells, else again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime

import structlog
from radbus_contracts.errors import TransientError
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.outbox import OutboxRelay
from radbus_runtime.tracing import continued, current_traceparent

from radbus_scheduler.adapters import metrics
from radbus_scheduler.adapters.jobs import Jobs
from radbus_scheduler.domain.job import Job, JobState
from radbus_scheduler.domain.transitions import has_ended, needs_dispatcher
from radbus_scheduler.handlers.telling import messages_of

log = structlog.get_logger(__name__)

Decide = Callable[[Job, datetime], Job | None]
"""Given a job and the server's time, return the job after, or None where nothing changes."""

_TRIES = 12
_PAUSE_S = 0.02


class JobAbsentError(TransientError):
    """There is no such job, or not yet: the message about it was faster than the one that makes it."""


class JobContestedError(TransientError):
    """Others changed the job every time between reading and writing."""


class Ledger:
    """Jobs, changed one atomic write at a time."""

    def __init__(self, jobs: Jobs, relay: OutboxRelay, teller: Teller, *, on_change: Callable[[], None]) -> None:
        self._jobs = jobs
        self._relay = relay
        self._teller = teller
        self._on_change = on_change

    async def add(self, job: Job) -> bool:
        """Write a new job; say whether it was new."""
        messages = messages_of(self._teller, None, job)
        if not await self._jobs.add(job, messages):
            return False
        self._told(None, job, messages)
        return True

    async def change(self, job_id: str, decide: Decide) -> Job | None:
        """Change a job and return it, or None where there was nothing to change.

        Raises:
            JobAbsentError: There is no such job.
            JobContestedError: It could not be written, for others were faster each time.
        """
        for turn in range(_TRIES):
            held = await self._jobs.hold(job_id)
            if held is None:
                raise JobAbsentError(f"expected a job {job_id}")
            after = decide(held.job, held.now)
            if after is None or after == held.job:
                return None
            messages = self._messages(held.job, after)
            if await self._jobs.change(held, after, messages):
                self._told(held.job, after, messages)
                return after
            await asyncio.sleep(random.uniform(0, _PAUSE_S * (turn + 1)))  # noqa: S311 - spreads the contenders
        raise JobContestedError(f"job {job_id} was changed by others {_TRIES} times")

    def _messages(self, before: Job, after: Job) -> list[Outgoing]:
        if current_traceparent() is not None:
            return messages_of(self._teller, before, after)
        # Decided by a loop: it goes on with the trace of the request for the job.
        with continued("job.advance", after.traceparent, {"radbus.job_id": after.id}):
            return messages_of(self._teller, before, after)

    def _told(self, before: Job | None, after: Job, messages: list[Outgoing]) -> None:
        self._relay.send_soon(self._jobs.collection, after.id, messages)
        ended_before = {task.id for task in before.tasks if has_ended(task.state)} if before else set()
        for task in after.tasks:
            if has_ended(task.state) and task.id not in ended_before:
                metrics.tasks_ended.labels(task.pool, task.state.value).inc()
        if after.finished_at is not None:
            metrics.jobs_ended.labels(after.use_case, after.state.value).inc()
            log.info(
                "job.ended",
                job_id=after.id,
                use_case=after.use_case,
                state=after.state.value,
                reason=None if after.state is JobState.CANCELLED else after.reason,
                duration_s=round((after.finished_at - after.requested_at).total_seconds(), 3),
            )
        if needs_dispatcher(before, after):
            self._on_change()
