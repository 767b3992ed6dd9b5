"""What a soak's subscriber has heard, and the table of its books."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aio_pika
from radbus_contracts.topology import EVENTS
from radbus_storage import records

from tests.chaos.books import Accepted, Books

_HEARD = ("series.#", "study.#", "job.#", "inference.#")
_LIMIT = 100_000


@dataclass(slots=True)
class Subscriber:
    """A durable queue of its own: it holds what is told while nobody, and no broker, is there."""

    url: str
    name: str
    heard: list[Mapping[str, Any]] = field(default_factory=list)

    async def subscribe(self) -> None:
        """Hear from now on."""
        async with self._channel() as channel:
            queue = await channel.declare_queue(self.name, durable=True, arguments={"x-queue-type": "quorum"})
            for key in _HEARD:
                await queue.bind(EVENTS, routing_key=key)

    async def hear(self) -> None:
        """Take what the queue holds."""
        async with self._channel() as channel:
            queue = await channel.get_queue(self.name)
            while len(self.heard) < _LIMIT and (message := await queue.get(fail=False)) is not None:
                self.heard.append(json.loads(message.body))
                await message.ack()

    async def unsubscribe(self) -> None:
        """Leave nothing behind."""
        async with self._channel() as channel:
            await channel.queue_delete(self.name)

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[Any]:
        connection = await aio_pika.connect(self.url, timeout=10)
        async with connection, connection.channel() as channel:
            yield channel

    def of(self, institution: str) -> list[Mapping[str, Any]]:
        """Return what was told of an institution."""
        return [event for event in self.heard if event["institution"] == institution]


def table(books: Sequence[tuple[Books, Accepted, Sequence[Mapping[str, Any]]]]) -> str:
    """Write the books of all hospitals side by side."""
    columns = [dict(_rows(*each)) for each in books]
    names = list(dict.fromkeys(name for column in columns for name in column))
    lines = [
        "| | " + " | ".join(each.institution for each, _, _ in books) + " | all |",
        "|---|" + "---:|" * (len(books) + 1),
    ]
    for name in names:
        counts = [column.get(name, 0) for column in columns]
        lines.append(f"| {name} | " + " | ".join(str(count) for count in [*counts, sum(counts)]) + " |")
    return "\n".join(lines)


def _rows(books: Books, accepted: Accepted, told: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    yield "instances accepted", len(accepted.instances)
    yield "instances recorded", len(books[records.INSTANCES])
    yield "objects that records name", len(books.objects)
    yield "objects that are there of these", sum(size is not None for size in books.objects.values())
    yield "objects of attempts that were lost", len(books.keys - books.objects.keys())
    yield "series", len(books[records.SERIES])
    yield "series revisions", sum(each["revision"] for each in books[records.SERIES].values())
    yield "studies", len(books[records.STUDIES])
    yield "routings", len(books[records.ROUTINGS])
    yield "runs accepted", len(accepted.runs)
    yield "jobs", len(books[records.JOBS])
    for state, count in sorted(books.states().items()):
        yield f"jobs {state}", count
    yield "attempts at tasks", sum(task["attempt"] for job in books[records.JOBS].values() for task in job["tasks"])
    yield "outcomes", len(books[records.OUTCOMES])
    yield "inferences", len(books[records.INFERENCES])
    ids = Counter(event["id"] for event in told)
    yield "events heard", len(ids)
    yield "events heard more than once", sum(count > 1 for count in ids.values())
    yield (
        "events that wait in an outbox",
        sum(len(each.get("outbox") or ()) for found in books.documents.values() for each in found.values()),
    )
    yield "dead letters", len(books.dead_letters)
