"""Delivering messages as no service would on a good day: twice, and in another order."""

from __future__ import annotations

import random
from collections.abc import Sequence

import aio_pika
from radbus_contracts.envelope import CONTENT_TYPE
from radbus_runtime.events import Outgoing


def doubled(messages: Sequence[Outgoing], *, times: int = 2) -> list[Outgoing]:
    """Repeat each message right behind itself, as a lost confirm does."""
    return [message for message in messages for _ in range(times)]


def disordered(messages: Sequence[Outgoing], *, seed: int) -> list[Outgoing]:
    """Put messages into another order, the same one for the same seed."""
    return random.Random(seed).sample(messages, len(messages))  # noqa: S311 - to be repeated, not to be secret


async def deliver(url: str, messages: Sequence[Outgoing]) -> None:
    """Publish messages, each confirmed before the next, in the form in which a service publishes them."""
    connection = await aio_pika.connect(url, timeout=10)
    async with connection, connection.channel(on_return_raises=True) as channel:
        for message in messages:
            exchange = await channel.get_exchange(message.exchange, ensure=False)
            await exchange.publish(_published(message), message.routing_key, timeout=10)


def _published(message: Outgoing) -> aio_pika.Message:
    return aio_pika.Message(
        message.body.encode(),
        headers={"traceparent": message.traceparent} if message.traceparent else {},
        content_type=CONTENT_TYPE,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.id,
        correlation_id=message.id,
        type=message.type,
    )
