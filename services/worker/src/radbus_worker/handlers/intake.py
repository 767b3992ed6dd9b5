"""Orders are taken only while a slot is free and open, so that none waits here while another worker is idle."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from radbus_contracts.errors import TransientError
from radbus_contracts.topology import Queue
from radbus_runtime.bus import Bus
from radbus_runtime.progress import beat

from radbus_worker.domain.slots import Slots

log = structlog.get_logger(__name__)

_AGAIN_S = 0.5
_LOOK_EVERY_S = 10.0


class Intake:
    """Pauses and resumes the pool's queue."""

    def __init__(self, bus: Bus, queue: Queue, slots: Slots) -> None:
        self._bus = bus
        self._queue = queue
        self._slots = slots
        self._one_at_a_time = asyncio.Lock()
        self._changed = asyncio.Event()
        slots.watch(self._changed.set)

    async def pause_if_full(self) -> None:
        """Stop the orders when the last slot was taken; called before the order in work is acknowledged."""
        async with self._one_at_a_time:
            if self._slots.full:
                try:
                    await self._bus.pause(self._queue)
                except TransientError as error:
                    # The next order waits for a slot in its handler instead.
                    log.info("intake.not_paused", exc_info=error)

    async def run(self) -> None:
        """Let orders come again whenever a slot is free, and none while the slots are closed, until cancelled."""
        while True:
            beat("intake")
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._changed.wait()
            self._changed.clear()
            async with self._one_at_a_time:
                try:
                    await self._pause_or_resume()
                except TransientError as error:
                    log.info("intake.not_changed", exc_info=error)
                    self._changed.set()
            if self._changed.is_set():
                await asyncio.sleep(_AGAIN_S)

    async def _pause_or_resume(self) -> None:
        if self._slots.closed:
            await self._bus.pause(self._queue)
        elif not self._slots.full:
            await self._bus.resume(self._queue)
