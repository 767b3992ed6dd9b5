"""Looking into the queues of dead letters, and taking letters out: by plain AMQP, since not all can be decoded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError
from radbus_contracts import topology
from radbus_contracts.errors import PermanentError
from radbus_machines.manifest import ManifestError, load_manifests

from radbus_cli.dead_letters import DeadLetter, read_letter, replayed_headers
from radbus_cli.events import BrokerUnreachableError

_TIMEOUT_S = 10.0
_ALL = 0  # as a delivery tag: all that were delivered and not answered
_DEFAULT_POOL = "default"


class NotTakenError(PermanentError):
    """The broker did not take a replayed message; it is still among the dead letters."""


class UnknownQueueError(PermanentError):
    """There is no such queue of dead letters."""


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter and the message that it is."""

    letter: DeadLetter
    message: AbstractIncomingMessage


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many messages wait in a queue, and how many consumers it has."""

    messages: int
    consumers: int


def queue_names(machines: Path) -> list[str]:
    """Name the queues that have dead letters: the services', those of the machines' pools, and what found no queue."""
    try:
        pools = {manifest.pool for manifest in load_manifests(machines).values()}
    except ManifestError:  # elsewhere than on the workers' machines there may be none
        pools = set()
    pooled = [topology.pool_queue(pool).name for pool in sorted({*pools, _DEFAULT_POOL})]
    return [*(queue.name for queue in topology.QUEUES), *pooled, topology.UNROUTED]


class DeadQueues:
    """The queues of dead letters of one broker."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self.unseen: dict[str, int] = {}
        """How many letters of a queue were beyond the limit of the last look."""

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str) -> AsyncIterator[Self]:
        """Connect.

        Raises:
            BrokerUnreachableError: The broker does not answer, or went away.
        """
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what it has to say is said below
        with _reached():
            connection = await aio_pika.connect(url, timeout=_TIMEOUT_S)
            async with connection:
                yield cls(connection)

    @asynccontextmanager
    async def look(
        self, queue: str, *, limit: int, must_be: bool = False
    ) -> AsyncIterator[AsyncGenerator[Found, None]]:
        """Give the letters of a queue, oldest first; those not taken by then are put back at the end, in order.

        They are delivered and not acknowledged meanwhile, so nobody else sees them. A queue that is not there is empty,
        unless it must be. A look at a whole queue keeps its order; one at a part puts that part behind the rest.
        """
        async with asyncio.timeout(_TIMEOUT_S):
            channel = await self._connection.channel()
        try:
            async with aclosing(self._letters(channel, queue, limit=limit, must_be=must_be)) as letters:
                yield letters
        finally:
            # Orderly, so that the broker has all that was answered.
            async with asyncio.timeout(_TIMEOUT_S):
                await channel.close()

    async def _letters(
        self, channel: AbstractChannel, queue: str, *, limit: int, must_be: bool
    ) -> AsyncGenerator[Found, None]:
        try:
            dead = await channel.declare_queue(_dead(queue), passive=True, timeout=_TIMEOUT_S)
        except ChannelNotFoundEntity:
            if must_be:
                raise UnknownQueueError(f"expected a queue with dead letters, there is no {_dead(queue)}") from None
            return
        there = dead.declaration_result.message_count or 0
        self.unseen[queue] = max(0, there - limit)
        underlay = await channel.get_underlay_channel()
        try:
            # What dies meanwhile stands behind these and is not looked at: a replay that fails does not go in circles.
            for _ in range(min(there, limit)):
                message = await dead.get(fail=False, timeout=_TIMEOUT_S)
                if message is None:  # somebody else looks, too
                    break
                yield Found(read_letter(queue, message.message_id, message.body, message.headers), message)
        finally:
            # One answer for all that are left, in order. Not a reject: that would count as a failed delivery.
            await underlay.basic_nack(_ALL, multiple=True, requeue=True)

    async def replay(self, found: Found, *, by: str) -> None:
        """Publish a letter to its queue, and take it out once that is confirmed: cut between, it is there twice.

        Raises:
            NotTakenError: The broker refused it.
        """
        message, queue = found.message, found.letter.queue
        if queue == topology.UNROUTED:
            queue = topology.pool_queue(message.routing_key or "").name
        async with self._connection.channel(on_return_raises=True) as channel, asyncio.timeout(_TIMEOUT_S):
            try:
                await channel.default_exchange.publish(
                    _again(message, replayed_headers(message.headers, by=by, at=datetime.now(UTC))),
                    routing_key=queue,
                    timeout=_TIMEOUT_S,
                )
            except DeliveryError:
                raise NotTakenError(f"expected {queue} to be there and to have room; nothing was taken out") from None
        await message.ack()

    async def state(self, queue: str) -> QueueState | None:
        """Look how many messages wait in a queue of radbus's own, and how many consume them; None without a queue."""
        async with asyncio.timeout(_TIMEOUT_S):
            channel = await self._connection.channel()
            try:
                told = (await channel.declare_queue(queue, passive=True, timeout=_TIMEOUT_S)).declaration_result
            except ChannelNotFoundEntity:
                return None
            finally:
                await channel.close()
        return QueueState(told.message_count or 0, told.consumer_count or 0)

    async def drop(self, found: Found) -> None:
        """Take a letter out for good."""
        await found.message.ack()


def _dead(queue: str) -> str:
    # What found no queue was never anybody's: it lies where it fell.
    return queue if queue == topology.UNROUTED else f"{queue}.dead"


def _again(message: AbstractIncomingMessage, headers: Mapping[str, aio_pika.abc.FieldValue]) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        headers=dict(headers),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
    )


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError:  # a lost connection shows as a cancellation that nobody asked for
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerUnreachableError(
            "the connection to RabbitMQ was lost; what was not confirmed is still dead"
        ) from None
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        text = f"no answer from RabbitMQ ({type(error).__name__}); what was not confirmed is still dead"
        raise BrokerUnreachableError(text) from error
