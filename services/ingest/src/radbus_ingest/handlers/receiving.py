"""Receive a whole request: store its instances a few at a time, then touch their series, then it may be answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Protocol

import structlog
from radbus_dicom.errors import ZipNotValid

from radbus_ingest.adapters import metrics
from radbus_ingest.adapters.spool import NewSpool, Part
from radbus_ingest.adapters.zips import Archive
from radbus_ingest.domain.limits import BodyError, BodyTooLargeError, InflatedRoom, Limits
from radbus_ingest.domain.outcomes import Arrival, FailureReason, Outcome, Receipt, Refused, Stored
from radbus_ingest.handlers.storing import InstanceStorer
from radbus_ingest.handlers.touching import Toucher

log = structlog.get_logger(__name__)

_LOGGED_UIDS = 20
_NO_TOUCH = "its series could not be noted: a store is away, or its study was being purged; please send it again"


class TellStored(Protocol):
    """Tells subscribers of an instance, when there is time."""

    def __call__(self, institution: str, stored: Stored) -> None:
        """Never waits and never fails."""
        ...


class Receiver:
    """Turns the parts of a request into a receipt, whatever the dialect."""

    def __init__(
        self,
        storer: InstanceStorer,
        toucher: Toucher,
        *,
        limits: Limits,
        new_spool: NewSpool,
        parts_at_a_time: int,
        tell_stored: TellStored,
    ) -> None:
        self._storer = storer
        self._toucher = toucher
        self._limits = limits
        self._new_spool = new_spool
        self._parts_at_a_time = parts_at_a_time
        self._tell_stored = tell_stored

    async def receive(self, arrival: Arrival, parts: AsyncIterator[Part]) -> Receipt:
        """Store all parts; what came before a body's fault stays stored, and is touched like the rest."""
        started = time.monotonic()
        outcomes, fault = await self._store_all(arrival, parts)
        stored = [outcome for outcome in outcomes if isinstance(outcome, Stored)]
        is_whole = fault is None and not Receipt(tuple(outcomes)).again
        lost = await self._toucher.touch(arrival, stored, began=started, is_whole=is_whole)
        receipt = Receipt(tuple(_unless_lost(outcome, lost) for outcome in outcomes), fault)
        for outcome in receipt.stored:
            if outcome.created:
                self._tell_stored(arrival.institution, outcome)
        _count(arrival, receipt)
        _log(arrival, receipt, time.monotonic() - started)
        return receipt

    async def _store_all(self, arrival: Arrival, parts: AsyncIterator[Part]) -> tuple[list[Outcome], Exception | None]:
        outcomes: dict[int, Outcome] = {}
        fault: Exception | None = None
        slots = asyncio.Semaphore(self._parts_at_a_time)
        items = self._expanded(parts)

        async def store(position: int, part: Part) -> None:
            try:
                outcomes[position] = await self._storer.store(arrival, part)
            finally:
                part.spool.close()
                slots.release()

        async with asyncio.TaskGroup() as group, aclosing(items):
            position = 0
            try:
                # The slot comes first: what does not fit stays unread, and the client waits.
                while await slots.acquire() and (item := await anext(items, None)) is not None:
                    if position >= self._limits.part_count:
                        raise _too_many(item, self._limits.part_count)
                    if isinstance(item, Refused):
                        outcomes[position] = item
                        slots.release()
                    else:
                        group.create_task(store(position, item))
                    position += 1
            except (BodyError, OSError) as error:
                fault = error
        return [outcomes[each] for each in sorted(outcomes)], fault

    async def _expanded(self, parts: AsyncIterator[Part]) -> AsyncGenerator[Part | Refused, None]:
        """Give the entries of a zip in its place."""
        room = InflatedRoom(self._limits.zips.inflated_bytes)
        async for part in parts:
            if part.spool.is_too_large or not part.spool.is_zip():
                yield part
                continue
            try:
                async for item in self._entries(part, room):
                    yield item
            finally:
                part.spool.close()

    async def _entries(self, part: Part, room: InflatedRoom) -> AsyncGenerator[Part | Refused, None]:
        try:
            archive = await asyncio.to_thread(Archive, part.spool, self._limits.zips)
            room.take(archive.inflated_bytes)
        except ZipNotValid as error:
            yield Refused(part.name, FailureReason.CANNOT_UNDERSTAND, str(error))
            return
        for entry in archive.entries:
            try:
                spool = await asyncio.to_thread(archive.spool, entry, self._new_spool)
            except ZipNotValid as error:
                yield Refused(entry.filename, FailureReason.CANNOT_UNDERSTAND, str(error))
            else:
                yield Part(entry.filename, spool)


def _too_many(item: Part | Refused, limit: int) -> BodyTooLargeError:
    if isinstance(item, Part):
        item.spool.close()
    return BodyTooLargeError(f"expected at most {limit} instances in one request, those of zips included")


def _unless_lost(outcome: Outcome, lost: set[tuple[str, str]]) -> Outcome:
    """Accept nothing whose series nobody would complete, or that may be gone again: sent again, it is safe."""
    if isinstance(outcome, Refused):
        return outcome
    instance = outcome.instance
    if (instance.study_instance_uid, instance.series_instance_uid) not in lost:
        return outcome
    return Refused(outcome.name, FailureReason.OUT_OF_RESOURCES, _NO_TOUCH, instance.sop, again=True)


def _count(arrival: Arrival, receipt: Receipt) -> None:
    dialect = arrival.source.dialect.value
    for stored in receipt.stored:
        metrics.instances_stored.labels(dialect, str(not stored.created).lower()).inc()
        metrics.stored_bytes.labels(dialect).inc(stored.size_bytes)
    for refused in receipt.refused:
        metrics.instances_refused.labels(dialect, f"{refused.failure_reason:#06x}").inc()


def _log(arrival: Arrival, receipt: Receipt, duration_s: float) -> None:
    series = sorted({stored.instance.series_instance_uid for stored in receipt.stored})
    log.info(
        "arrival.stored",
        institution=arrival.institution,
        dialect=arrival.source.dialect.value,
        stored=len(receipt.stored),
        created=sum(stored.created for stored in receipt.stored),
        refused=dict(Counter(f"{refused.failure_reason:#06x}" for refused in receipt.refused)),
        fault=None if receipt.fault is None else type(receipt.fault).__name__,
        series_count=len(series),
        series_instance_uids=series[:_LOGGED_UIDS],
        size_bytes=sum(stored.size_bytes for stored in receipt.stored),
        duration_s=round(duration_s, 3),
    )
