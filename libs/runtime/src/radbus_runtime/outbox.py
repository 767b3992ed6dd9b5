"""The outbox relay: what a document says in its `outbox` array reaches the bus, at once and again after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from radbus_contracts.errors import TransientError
from radbus_storage.documents import Collection, Index

from radbus_runtime import metrics
from radbus_runtime.bus import Bus
from radbus_runtime.events import Outgoing
from radbus_runtime.progress import beat

log = structlog.get_logger(__name__)

OUTBOX_INDEX = Index((("outbox.at", 1),), only_where={"outbox.at": {"$exists": True}})

_PENDING_LIMIT = 10_000
_SENDERS = 8
_SWEEP_EVERY_S = 1.0
_SWEEP_OLDER_THAN_S = 2.0
_SWEEP_LIMIT = 200


@dataclass(frozen=True, slots=True)
class _Entry:
    collection: Collection
    document_id: str
    messages: tuple[Outgoing, ...]


class OutboxRelay:
    """Publishes outbox entries and takes them out when the broker has confirmed them."""

    def __init__(self, bus: Bus, collections: Sequence[Collection]) -> None:
        self._bus = bus
        self.collections = collections
        self._pending: asyncio.Queue[_Entry] = asyncio.Queue(_PENDING_LIMIT)
        for collection in collections:  # from the start, so that a rate can tell the first
            metrics.outbox_swept.labels(collection.name)

    def send_soon(self, collection: Collection, document_id: str, messages: Sequence[Outgoing]) -> None:
        """Publish what was just written into a document; if there is no room now, the sweep finds it."""
        if messages and not self._pending.full():
            self._pending.put_nowait(_Entry(collection, document_id, tuple(messages)))

    async def run(self) -> None:
        """Relay until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_SENDERS):
                group.create_task(self._send_pending())
            group.create_task(self._sweep())

    async def _send_pending(self) -> None:
        while True:
            entry = await self._pending.get()
            try:
                await self._send(entry)
            except TransientError as error:
                log.warning("outbox.delayed", collection=entry.collection.name, exc_info=error)

    async def _sweep(self) -> None:
        while True:
            beat("outbox")
            await asyncio.sleep(_SWEEP_EVERY_S)
            try:
                await self.sweep_once()
            except TransientError as error:
                log.warning("outbox.sweep_failed", exc_info=error)

    async def sweep_once(self) -> int:
        """Publish the entries that were left behind; return how many documents had some."""
        found = 0
        # The writer's clock stamped them, and it may have been wrong: what is of the future is not waited for. A wrong
        # clock makes an entry sent twice, never lost.
        now, old = datetime.now(UTC), timedelta(seconds=_SWEEP_OLDER_THAN_S)
        left = [{"outbox.at": {"$exists": True, **bound}} for bound in ({"$lt": now - old}, {"$gt": now + old})]
        for collection in self.collections:
            documents = await collection.find({"$or": left}, limit=_SWEEP_LIMIT, only={"outbox": 1})
            for document in documents:
                await self._send(_Entry(collection, document["_id"], _messages(document)))
                metrics.outbox_swept.labels(collection.name).inc(len(document["outbox"]))
            found += len(documents)
        return found

    async def _send(self, entry: _Entry) -> None:
        for message in entry.messages:
            await self._bus.publish(message)
        ids = [message.id for message in entry.messages]
        await entry.collection.update({"_id": entry.document_id}, {"$pull": {"outbox": {"id": {"$in": ids}}}})


def _messages(document: dict[str, Any]) -> tuple[Outgoing, ...]:
    return tuple(Outgoing.of(entry) for entry in document["outbox"])
