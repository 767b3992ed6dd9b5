"""Looking at the own queues: who consumes them, what has been in work for too long, what nobody could settle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from aio_pika.abc import AbstractConnection
from faststream.rabbit.subscriber import RabbitSubscriber
from prometheus_client import Gauge

HANDLER_LIMIT_S = 300.0
"""Far beyond what any handler needs, and below the broker's own limit."""


class InWork:
    """The messages in work, each by its queue and since when."""

    def __init__(self) -> None:
        self._since: dict[object, tuple[str, float]] = {}

    @contextmanager
    def one_of(self, queue: str) -> Iterator[None]:
        """Count a message as long as it is in work."""
        mark = object()
        self._since[mark] = queue, time.monotonic()
        try:
            yield
        finally:
            del self._since[mark]

    def stuck(self, limit_s: float = HANDLER_LIMIT_S) -> str | None:
        """Return of which queues a message has been in work for too long, or None."""
        before = time.monotonic() - limit_s
        late = sorted({queue for queue, since in self._since.values() if since <= before})
        return f"a message of {', '.join(late)} is in work for more than {limit_s:.0f} s" if late else None


async def missing_consumer(connection: AbstractConnection, subscribers: Mapping[str, RabbitSubscriber]) -> str | None:
    """Return which of these queues has no consumer, or not this process's own; the broker counts those of all."""
    async with connection.channel() as channel:
        for name, subscriber in subscribers.items():
            declared = await channel.declare_queue(name, passive=True)
            if not declared.declaration_result.consumer_count or not await _consumes(subscriber):
                return f"no consumer on {name}"
    return None


async def _consumes(subscriber: RabbitSubscriber) -> bool:
    # FastStream has no other way to say so, and both outlive a consumer that the broker has cancelled.
    tag, consumed = subscriber._consumer_tag, subscriber._queue_obj  # noqa: SLF001
    if tag is None or consumed is None:
        return False
    underlay = await consumed.channel.get_underlay_channel()
    return tag in getattr(underlay, "consumers", {})


async def count_messages(connection: AbstractConnection, names: Sequence[str], gauge: Gauge) -> None:
    """Show as a metric how many messages lie ready in these queues."""
    async with connection.channel() as channel:
        for name in names:
            declared = await channel.declare_queue(name, passive=True)
            gauge.labels(name).set(declared.declaration_result.message_count or 0)
