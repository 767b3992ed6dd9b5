"""Looking at the own queues: who consumes them, what has been in work for too long, what nobody could settle."""

from __future__ import annotations

import time
import uuid
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


# FastStream has no other way to see or to change these, and `stop()` would wait for the handler that calls it.
def consumes(subscriber: RabbitSubscriber) -> bool:
    """Whether a subscriber has, or may have, a consumer."""
    return subscriber._consumer_tag is not None and subscriber._queue_obj is not None  # noqa: SLF001


def forget_consumer(subscriber: RabbitSubscriber) -> None:
    """Let a subscriber have no consumer, whatever the broker thinks."""
    subscriber._consumer_tag = None  # noqa: SLF001


async def end_consumer(subscriber: RabbitSubscriber) -> None:
    """Cancel the consumer that a subscriber has or, after a try that failed, may have.

    aio-pika forgets it before the broker agrees: it is not restored, not even when the connection is lost meanwhile.
    """
    tag, consumed = subscriber._consumer_tag, subscriber._queue_obj  # noqa: SLF001
    if tag is not None and consumed is not None:
        await consumed.cancel(tag)  # of one that is unknown the broker says that it is gone
        forget_consumer(subscriber)


async def begin_consumer(subscriber: RabbitSubscriber) -> None:
    """Make a consumer for a subscriber in the place of the one that an earlier try may have left."""
    await end_consumer(subscriber)
    consumed = subscriber._queue_obj  # noqa: SLF001
    if consumed is not None:
        # Known before the broker agrees: it may have agreed to what timed out.
        subscriber._consumer_tag = tag = f"radbus.{uuid.uuid4().hex}"  # noqa: SLF001
        await consumed.consume(
            subscriber.consume,  # type: ignore[arg-type]
            arguments=subscriber.consume_args,
            consumer_tag=tag,
        )


async def missing_consumer(connection: AbstractConnection, subscribers: Mapping[str, RabbitSubscriber]) -> str | None:
    """Return which of these queues has no consumer, or not this process's own; the broker counts those of all."""
    async with connection.channel() as channel:
        for name, subscriber in subscribers.items():
            declared = await channel.declare_queue(name, passive=True)
            if not declared.declaration_result.consumer_count or not await _is_known(subscriber):
                return f"no consumer on {name}"
    return None


async def _is_known(subscriber: RabbitSubscriber) -> bool:
    # Tag and queue outlive a consumer that the broker has cancelled.
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
