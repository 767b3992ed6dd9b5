"""Declaring the topology: publishers and consumers alike do, so that no queue of ours can be missing."""

from __future__ import annotations

from collections.abc import Iterable

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel
from aiormq.abc import FieldValue
from radbus_contracts import topology
from radbus_contracts.topology import Queue

_QUORUM: dict[str, FieldValue] = {"x-queue-type": "quorum"}
_HOLDING: dict[str, FieldValue] = {
    **_QUORUM,
    "x-max-length": topology.QUEUE_LENGTH_LIMIT,
    "x-overflow": "reject-publish",
}
# To look at a dead letter is a delivery, and RabbitMQ 4 drops what was delivered 20 times unless a limit is given.
# Not -1, which is no limit there: 3.10 takes it, and drops everything at the first look.
_DEAD: dict[str, FieldValue] = {**_HOLDING, "x-delivery-limit": 1_000_000_000}


async def declare_topology(channel: AbstractChannel, pools: Iterable[str] = ()) -> None:
    """Declare every exchange, queue and binding; what is there already stays."""
    await channel.declare_exchange(topology.EVENTS, ExchangeType.TOPIC, durable=True)
    await channel.declare_exchange(topology.UNROUTED, ExchangeType.FANOUT, durable=True)
    unrouted = await channel.declare_queue(topology.UNROUTED, durable=True, arguments=_HOLDING)
    await unrouted.bind(topology.UNROUTED)
    await channel.declare_exchange(
        topology.TASKS, ExchangeType.DIRECT, durable=True, arguments={"alternate-exchange": topology.UNROUTED}
    )
    for step_s in topology.RETRY_STEPS_S:
        await _declare_retry_step(channel, step_s)
    for queue in (*topology.QUEUES, *(topology.pool_queue(pool) for pool in pools)):
        await _declare_queue(channel, queue)


async def _declare_retry_step(channel: AbstractChannel, step_s: int) -> None:
    """Declare one rung: what is published there comes back, after its time, to the queue that its key names."""
    name = topology.retry_exchange(step_s)
    await channel.declare_exchange(name, ExchangeType.FANOUT, durable=True)
    queue = await channel.declare_queue(
        name,
        durable=True,
        arguments={
            **_HOLDING,
            "x-message-ttl": step_s * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-strategy": "at-least-once",
        },
    )
    await queue.bind(name)


async def _declare_queue(channel: AbstractChannel, queue: Queue) -> None:
    await channel.declare_queue(queue.dead, durable=True, arguments=_DEAD)
    arguments: dict[str, FieldValue] = {
        **_HOLDING,
        "x-delivery-limit": topology.DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue.dead,
        "x-dead-letter-strategy": "at-least-once",
    }
    if queue.expires_s is not None:
        # Stale by then: it is dropped, not kept among the dead.
        arguments = {**_QUORUM, "x-message-ttl": queue.expires_s * 1000, "x-max-length": topology.QUEUE_LENGTH_LIMIT}
    declared = await channel.declare_queue(queue.name, durable=True, arguments=arguments)
    await declared.bind(queue.exchange, routing_key=queue.routing_key)
