"""Hearing a fact on the bus, as any subscriber would."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import aio_pika
from radbus_contracts.topology import EVENTS

Wanted = Callable[[Mapping[str, Any]], bool]


async def listen(
    url: str, routing_key: str, *, listening: Callable[[], None]
) -> AsyncGenerator[Mapping[str, Any], None]:
    """Give the events under a routing key, until cancelled; `listening` is called once none can be missed."""
    connection = await aio_pika.connect(url, timeout=10)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EVENTS, routing_key=routing_key)
        listening()
        async with queue.iterator(no_ack=True) as messages:
            async for message in messages:
                yield json.loads(message.body)


async def heard(url: str, routing_key: str, wanted: Wanted, *, listening: Callable[[], None]) -> Mapping[str, Any]:
    """Return the first event under a routing key that is wanted."""
    async with aclosing(listen(url, routing_key, listening=listening)) as events:
        async for event in events:
            if wanted(event):
                return event
    raise ConnectionError("the connection to the broker ended")
