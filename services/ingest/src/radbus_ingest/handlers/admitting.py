"""Let requests in while there is room for what they bring: slow them down first, then refuse them early and clearly."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from radbus_ingest.adapters import metrics
from radbus_ingest.adapters.spool import Room
from radbus_ingest.domain.limits import BodyBusyError, BusyError, GateLimits
from radbus_ingest.domain.watermarks import SAID, Concern, retry_after_s
from radbus_ingest.handlers.places import Places
from radbus_ingest.handlers.watching import Watch

_POLL_S: Final = 0.05
# Nobody is exempt from these: what is let in against them is lost to all.
_ALWAYS: Final = (Concern.DISK, Concern.STORE, Concern.OUTBOX)


class Gate:
    """Counts requests in flight, and asks the watch what is too full."""

    def __init__(self, room: Room, watch: Watch, limits: GateLimits) -> None:
        self._room = room
        self._watch = watch
        self._limits = limits
        self._places = Places(limits.requests)
        self._inside = 0
        metrics.waiting_bytes.set_function(lambda: room.used_bytes)
        watch.follow(Concern.REQUESTS, lambda: self._places.load)
        watch.follow(Concern.BYTES, lambda: room.used_bytes / limits.waiting_bytes)

    @asynccontextmanager
    async def admitted(self, institution: str, sources: Iterable[str] = ()) -> AsyncIterator[None]:
        """Be inside while a request is taken in; wait a short time for a place.

        Raises:
            BusyError: Too much is inside already, or waits behind; the answer is 503 with Retry-After.
        """
        refusal = self._refusal(institution, sources)
        if refusal is not None:
            raise self._busy(*refusal)
        async with AsyncExitStack() as place:
            await self._enter(place, institution)
            self._inside += 1
            metrics.requests_in_flight.inc()
            try:
                yield
            finally:
                self._inside -= 1
                metrics.requests_in_flight.dec()

    async def go_on(self) -> None:
        """Wait with a body's next bytes while there is no room for them: the client is slowed down.

        Raises:
            BodyBusyError: There was none for too long; what came before stays stored.
        """
        if self._full() is None:
            return
        # Not the same time for all, so that some make room for the others.
        until = time.monotonic() + self._limits.wait_s * (1 + random.random())  # noqa: S311 - no secret
        while (concern := self._full()) is not None:
            if time.monotonic() > until:
                metrics.requests_refused.labels(concern.value).inc()
                raise BodyBusyError(SAID[concern], retry_after_s=self._retry_after_s(1))
            await asyncio.sleep(_POLL_S)

    def _refusal(self, institution: str, sources: Iterable[str]) -> tuple[Concern, float] | None:
        for concern in _ALWAYS:
            if (load := self._watch.load_of(concern)) is not None:
                return concern, load
        # Memory that is not given back must not close the door for ever: one at a time always gets in.
        if self._inside and (load := self._watch.load_of(Concern.MEMORY)) is not None:
            return Concern.MEMORY, load
        load = self._watch.load_of_tasks(institution)
        if load is not None and not self._limits.urgent_sources.intersection(sources):
            return Concern.TASKS, load
        return None

    async def _enter(self, place: AsyncExitStack, institution: str) -> None:
        if self._places.is_crowded(institution):
            raise self._busy(Concern.REQUESTS, self._places.load)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await place.enter_async_context(self._places.taken(institution))
        except TimeoutError:
            raise self._busy(Concern.REQUESTS, self._places.load) from None

    def _full(self) -> Concern | None:
        if self._room.used_bytes > self._limits.waiting_bytes:
            self._watch.note(Concern.BYTES, self._room.used_bytes / self._limits.waiting_bytes)
            return Concern.BYTES
        return Concern.DISK if self._watch.load_of(Concern.DISK) is not None else None

    def _busy(self, concern: Concern, load: float) -> BusyError:
        metrics.requests_refused.labels(concern.value).inc()
        if concern is Concern.REQUESTS:
            self._watch.note(concern, max(1.0, load))
        return BusyError(SAID[concern], retry_after_s=self._retry_after_s(load))

    def _retry_after_s(self, load: float) -> int:
        least_s = self._limits.retry_after_least_s
        return retry_after_s(load, least_s=least_s, chance=random.random())  # noqa: S311 - no secret
