"""Answer an order: take a slot, claim the attempt, let it run in a task of its own, acknowledge."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from radbus_contracts.envelope import Event
from radbus_contracts.orders import RunTaskV1

from radbus_worker.adapters.leases import Leases
from radbus_worker.domain.claims import Claim
from radbus_worker.domain.slots import Slots
from radbus_worker.handlers.intake import Intake
from radbus_worker.handlers.running import Running

log = structlog.get_logger(__name__)

Attempt = Callable[[Claim], Coroutine[Any, Any, None]]


class RunTaskHandler:
    """Handles `RunTask`: when it returns, the message is acknowledged and the lease vouches for the task."""

    def __init__(self, *, slots: Slots, leases: Leases, running: Running, intake: Intake, attempt: Attempt) -> None:
        self._slots = slots
        self._leases = leases
        self._running = running
        self._intake = intake
        self._attempt = attempt

    async def on_run_task(self, event: Event[RunTaskV1]) -> None:
        """Start an attempt unless it, or a later one, has been claimed, or nobody wants it any more."""
        await self._running.ready()
        await self._slots.take()
        try:
            claim = await self._leases.claim(event)
        except BaseException:
            self._slots.give_back()
            raise
        order = event.data
        if claim is None:
            self._slots.give_back()
            log.info("order.dropped", job_id=order.job_id, task_id=order.task_id, attempt=order.attempt)
            return
        self._running.start(self._attempt(claim), when_done=self._slots.give_back)
        await self._intake.pause_if_full()
