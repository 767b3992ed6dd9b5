"""Watch what fills up, and keep in memory whether requests are refused for it; one log line a change, not a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from radbus_contracts.errors import TransientError
from radbus_runtime.progress import beat

from radbus_ingest.adapters import metrics
from radbus_ingest.adapters.resources import Disk
from radbus_ingest.domain.limits import Watermarks
from radbus_ingest.domain.watermarks import Concern, Level, over_their_share

log = structlog.get_logger(__name__)

_TAKE_AGAIN: Final = 0.8
_DISK_S: Final = 5.0
_FULL: Final = 2.0  # the load of a store that says so: nobody knows how much more than full it is
# A small file system is not to be refused for its size: then this part of it is the low watermark.
_LOW_SHARE_OF_DISK: Final = 0.1


class Waiting(Protocol):
    """Counts what waits behind ingest."""

    async def ready_tasks(self, *, limit: int) -> Mapping[str, int]:
        """By institution; raise TransientError when the store is away."""
        ...

    async def untold(self, *, limit: int) -> int:
        """Raise TransientError when the store is away."""
        ...


@dataclass(frozen=True, slots=True)
class Senses:
    """How the disk and the memory are asked."""

    disk: Callable[[], Disk]
    used_memory_bytes: Callable[[], int]


class Watch:
    """The levels of everything that may be too full, measured every few seconds."""

    def __init__(self, waiting: Waiting, senses: Senses, marks: Watermarks) -> None:
        self._waiting = waiting
        self._senses = senses
        self._marks = marks
        again = {Concern.DISK: marks.disk_low_bytes / marks.disk_high_bytes, Concern.MEMORY: 0.95}
        self._levels = {concern: Level(again.get(concern, _TAKE_AGAIN)) for concern in Concern}
        self._since = dict.fromkeys(Concern, 0.0)
        self._followed: dict[Concern, Callable[[], float]] = {}
        self._institutions: dict[str, float] = {}
        self._store_full_until = 0.0
        self._unmeasured: set[Concern] = set()
        self._disk: asyncio.Task[Disk] | None = None

    def load_of(self, concern: Concern) -> float | None:
        """Return how far above its limit something is, None when it is not."""
        level = self._levels[concern]
        return max(1.0, level.load) if level.is_over else None

    def load_of_tasks(self, institution: str) -> float | None:
        """Return how far above its share of the waiting tasks an institution is, None when it is not."""
        return self._institutions.get(institution)

    def follow(self, concern: Concern, load: Callable[[], float]) -> None:
        """Ask for a load at each measuring; what is over meanwhile is noted by whoever refuses for it."""
        self._followed[concern] = load

    def note(self, concern: Concern, load: float) -> None:
        """Take in a load that was measured."""
        before = self._levels[concern]
        level = self._levels[concern] = before.at(load)
        metrics.admission_load.labels(concern.value).set(load)
        if level.is_over == before.is_over:
            return
        metrics.admission_refusing.labels(concern.value).set(level.is_over)
        now = time.monotonic()
        if level.is_over:
            self._since[concern] = now
            log.warning("admission.closed", because=concern.value, load=round(load, 3))
        else:
            duration_s = round(now - self._since[concern], 3)
            log.info("admission.opened", because=concern.value, load=round(load, 3), duration_s=duration_s)

    def store_is_full(self) -> None:
        """Take in that the object store had no room; after a time it is tried again."""
        self._store_full_until = time.monotonic() + self._marks.store_full_s
        self.note(Concern.STORE, _FULL)

    async def describe(self) -> str | None:
        """Say for what requests are refused, or None: for people, and not a reason to get no requests."""
        over = [concern.value for concern, level in self._levels.items() if level.is_over]
        return f"refusing requests: {', '.join(over)}" if over else None

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            beat("admission", within_s=60 + 2 * self._marks.every_s)
            await self.measure_once()
            await asyncio.sleep(self._marks.every_s)

    async def measure_once(self) -> None:
        """Measure now; what cannot be asked stays as it was."""
        marks = self._marks
        for concern, load in self._followed.items():
            self.note(concern, load())
        with self._measuring(Concern.MEMORY):
            self.note(Concern.MEMORY, self._senses.used_memory_bytes() / marks.memory_bytes)
        if time.monotonic() >= self._store_full_until:
            self.note(Concern.STORE, 0.0)
        with self._measuring(Concern.DISK):
            self._note_disk(await self._look_at_disk())
        try:
            # Twice as many as there are places: all that fair shares can add up to.
            self._note_tasks(await self._waiting.ready_tasks(limit=2 * marks.tasks))
            self.note(Concern.OUTBOX, await self._waiting.untold(limit=2 * marks.untold) / marks.untold)
        except TransientError as error:
            log.info("admission.backlog_not_counted", exc_info=error)

    @contextmanager
    def _measuring(self, concern: Concern) -> Iterator[None]:
        """Keep the last level of what cannot be asked: without a free file descriptor, say, nothing can."""
        try:
            yield
        except OSError as error:  # a TimeoutError is one
            if concern not in self._unmeasured:
                self._unmeasured.add(concern)
                log.warning("admission.not_measured", of=concern.value, exc_info=error)
        else:
            self._unmeasured.discard(concern)

    async def _look_at_disk(self) -> Disk:
        # One look at a time: each that hangs keeps a thread, and there are few.
        if self._disk is None or self._disk.done():
            self._disk = asyncio.create_task(asyncio.to_thread(self._senses.disk))
        async with asyncio.timeout(_DISK_S):
            return await asyncio.shield(self._disk)

    def _note_disk(self, disk: Disk) -> None:
        low_bytes = min(self._marks.disk_low_bytes, disk.size_bytes * _LOW_SHARE_OF_DISK)
        self.note(Concern.DISK, low_bytes / max(1, disk.free_bytes))

    def _note_tasks(self, waiting: Mapping[str, int]) -> None:
        self.note(Concern.TASKS, sum(waiting.values()) / self._marks.tasks)
        before = self._institutions.keys()
        is_over = self._levels[Concern.TASKS].is_over
        # From the lower mark on, so that between the marks somebody is still refused.
        self._institutions = over_their_share(waiting, self._marks.tasks * _TAKE_AGAIN) if is_over else {}
        metrics.admission_institutions_refused.set(len(self._institutions))
        _log_institutions("admission.institution_refused", self._institutions.keys() - before)
        _log_institutions("admission.institution_taken", before - self._institutions.keys())


def _log_institutions(event: str, institutions: Iterable[str]) -> None:
    for institution in sorted(institutions):
        log.info(event, because=Concern.TASKS.value, institution=institution)
