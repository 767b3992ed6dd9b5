"""What the topology asks of every queue, so that none of them drops a message without a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from radbus_contracts import topology
from radbus_runtime.declare import declare_topology

POOL = "gpu"
# What quorum queues of RabbitMQ 3.10 and of 4.x both know: another one is refused by the older, or by the newer.
KNOWN = {
    "x-queue-type",
    "x-max-length",
    "x-overflow",
    "x-message-ttl",
    "x-delivery-limit",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
}


@dataclass
class Declared:
    """A queue or an exchange as it was asked for."""

    durable: bool
    arguments: Mapping[str, Any]

    async def bind(self, exchange: str, routing_key: str = "") -> None:
        """Take note of nothing: what is asked here is what a queue does with its messages."""


@dataclass
class Asked:
    """A channel that keeps what was declared."""

    queues: dict[str, Declared] = field(default_factory=dict)
    exchanges: dict[str, Declared] = field(default_factory=dict)

    async def declare_queue(self, name: str, *, durable: bool = False, arguments: Any = None) -> Declared:
        """Keep a queue."""
        return self.queues.setdefault(name, Declared(durable, arguments or {}))

    async def declare_exchange(self, name: str, kind: str, *, durable: bool = False, arguments: Any = None) -> Declared:
        """Keep an exchange."""
        return self.exchanges.setdefault(name, Declared(durable, arguments or {}))


@pytest.fixture
async def asked() -> Asked:
    channel = Asked()
    await declare_topology(channel, [POOL])
    return channel


async def test_every_queue_and_exchange_outlives_its_broker_and_every_queue_has_a_bound(asked):
    assert all(each.durable for each in (*asked.queues.values(), *asked.exchanges.values()))
    assert {each.arguments["x-queue-type"] for each in asked.queues.values()} == {"quorum"}
    assert all(each.arguments["x-max-length"] > 0 for each in asked.queues.values())


async def test_what_is_dead_lettered_or_comes_back_by_the_ladder_is_so_at_least_once(asked):
    passing_on = [each.arguments for each in asked.queues.values() if "x-dead-letter-exchange" in each.arguments]

    assert len(passing_on) > len(topology.RETRY_STEPS_S)
    # The broker keeps at least once only where a full queue refuses what is published, and drops nothing at its head.
    assert {each["x-dead-letter-strategy"] for each in passing_on} == {"at-least-once"}
    assert {each["x-overflow"] for each in passing_on} == {"reject-publish"}


async def test_a_message_that_kills_its_consumers_ends_in_dead_letters_which_may_be_looked_at_without_end(asked):
    working = [each for each in (*topology.QUEUES, topology.pool_queue(POOL)) if each.expires_s is None]

    assert working
    for queue in working:
        assert asked.queues[queue.name].arguments["x-delivery-limit"] == topology.DELIVERY_LIMIT
        assert asked.queues[queue.name].arguments["x-dead-letter-routing-key"] == queue.dead
        assert asked.queues[queue.dead].arguments["x-delivery-limit"] >= 1_000_000


async def test_no_queue_asks_for_what_only_one_of_the_supported_releases_has(asked):
    assert {name for each in asked.queues.values() for name in each.arguments} <= KNOWN
