"""The bus: bounded, confirmed publishing and settled consuming over FastStream and aio-pika."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection, AbstractRobustConnection
from aio_pika.exceptions import AMQPError
from faststream import AckPolicy
from faststream.exceptions import FastStreamException
from faststream.rabbit import Channel, RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue
from faststream.rabbit.subscriber import RabbitSubscriber
from radbus_contracts.envelope import CONTENT_TYPE, Event, Payload
from radbus_contracts.errors import TransientError
from radbus_contracts.topology import UNROUTED, Queue

from radbus_runtime import metrics
from radbus_runtime.consuming import (
    InWork,
    begin_consumer,
    consumes,
    count_messages,
    end_consumer,
    forget_consumer,
    missing_consumer,
)
from radbus_runtime.declare import declare_topology
from radbus_runtime.events import Outgoing
from radbus_runtime.progress import beat
from radbus_runtime.reading import read_event
from radbus_runtime.settings import ServiceSettings
from radbus_runtime.settlement import Settlement

log = structlog.get_logger(__name__)
P = TypeVar("P", bound=Payload)
Handler = Callable[[Event[P]], Awaitable[None]]

PUBLISH_TIMEOUT_S = 5.0
_DECLARE_TIMEOUT_S = 20.0
_HEARTBEAT_S = 10


class BusUnavailableError(TransientError):
    """The broker did not confirm in time, or is away. The message may have been published all the same."""


class Bus:
    """One connection to RabbitMQ: subscribe first, then start, then publish."""

    def __init__(self, settings: ServiceSettings, *, pools: Sequence[str] = ()) -> None:
        self._settings = settings
        self._pools = list(pools)
        self._queues: list[Queue] = []
        self._heard: set[str] = set()
        self._subscribers: dict[str, RabbitSubscriber] = {}
        self._paused: set[str] = set()
        self._in_work = InWork()
        self._started = False
        given = settings.amqp_url.get_secret_value()
        self._url = f"{given}{'&' if '?' in given else '?'}heartbeat={_HEARTBEAT_S}"
        self._broker = RabbitBroker(
            self._url,
            on_close=[_lost],
            on_reconnected=[_reconnected],
            default_channel=Channel(prefetch_count=settings.prefetch, on_return_raises=True),
            ack_policy=AckPolicy.MANUAL,
            decoder=_whole,
            apply_types=False,
            graceful_timeout=settings.drain_s,
            logger=None,  # FastStream's own prints the values of messages that do not validate
        )

    def subscribe(self, queue: Queue, payload: type[P], handler: Handler[P], *, prefetch: int | None = None) -> None:
        """Give every message of a queue to a handler; at most `prefetch` of them at a time.

        What a newer version tells, too, is left to the handler of that one, if there is one here.
        """
        self._heard.add(queue.type)

        async def consume(message: RabbitMessage) -> None:
            event = read_event(message, payload)
            if event.successor not in self._heard:
                await handler(event)

        self._queues.append(queue)
        settle = Settlement(queue, consume, self._copy)

        async def settled(message: RabbitMessage) -> None:
            with self._in_work.one_of(queue.name):
                await settle(message)

        subscriber = self._broker.subscriber(
            RabbitQueue(queue.name, declare=False),
            channel=Channel(prefetch_count=prefetch or self._settings.prefetch, on_return_raises=True),
        )
        subscriber(settled)
        self._subscribers[queue.name] = subscriber

    async def pause(self, queue: Queue) -> None:
        """Take nothing more from a queue for now; to be called in its handler, with a prefetch of 1.

        Its consumer is gone before the message in work is settled, so the broker gives the next one to another.
        """
        subscriber = self._subscribers[queue.name]
        if not consumes(subscriber):
            return
        # From here on, also when the broker does not agree: the consumer is given up, and only resuming makes one.
        self._paused.add(queue.name)
        with _unavailable("pause"):
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await end_consumer(subscriber)

    async def resume(self, queue: Queue) -> None:
        """Take messages from a paused queue again; nothing happens when it is not paused.

        Raises:
            BusUnavailableError: The broker did not agree; the queue is still paused.
        """
        subscriber = self._subscribers[queue.name]
        if queue.name not in self._paused or not subscriber.running:
            return
        with _unavailable("resume"):
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await begin_consumer(subscriber)
        self._paused.discard(queue.name)

    async def start(self) -> None:
        """Connect, declare the topology and begin to consume, trying again until the deadline for starting.

        Raises:
            BusUnavailableError: The broker could not be reached in that time.
        """
        deadline = time.monotonic() + self._settings.start_s
        while True:
            try:
                with _unavailable("start"):
                    async with asyncio.timeout(self._settings.start_s):  # a backlog is worked on meanwhile
                        # Before the robust connection: one that fails goes on trying for ever, beside the next one.
                        await self._declare()
                        await self._broker.connect()
                        await self._broker.start()
            except BusUnavailableError as error:
                await self.stop()  # the consumers of half a start would stay beside those of the next one
                if time.monotonic() > deadline:
                    raise BusUnavailableError("RabbitMQ could not be reached at start") from error
                log.info("bus.waited", error=type(error.__cause__ or error).__name__)
                await asyncio.sleep(1)
            else:
                self._started = True
                log.info("bus.connected", queues=[queue.name for queue in self._queues])
                return

    async def keep_declared(self, *, every_s: float = 15.0) -> None:
        """Declare the topology again and again until cancelled: a queue may be deleted, a broker lose its data.

        A fact that finds no queue would be gone without a word; the lost consumers come back with their queues.
        """
        while True:
            beat("topology", within_s=4 * (every_s + _DECLARE_TIMEOUT_S))
            await asyncio.sleep(every_s)
            try:
                with _unavailable("declare"):
                    async with asyncio.timeout(_DECLARE_TIMEOUT_S):
                        await self._declare()
            except BusUnavailableError as error:
                log.info("bus.not_declared", exc_info=error)

    async def _declare(self) -> None:
        # By a connection of its own: the robust one is not ready before all its queues are there again.
        connection = await aio_pika.connect(self._url)
        async with connection, connection.channel() as channel:
            await declare_topology(channel, self._pools)

    async def publish(self, message: Outgoing, *, mandatory: bool = False) -> None:
        """Publish a message and wait until the broker has it.

        Raises:
            BusUnavailableError: It was not confirmed in time.
        """
        headers = {"traceparent": message.traceparent} if message.traceparent else {}
        await self._send(
            message.body.encode(),
            exchange=message.exchange,
            routing_key=message.routing_key,
            mandatory=mandatory,
            headers=headers,
            message_id=message.id,
            message_type=message.type,
        )

    async def check(self) -> str | None:
        """Return what is wrong with the bus, or None.

        The connection answers, every own queue has a consumer, this process's own is among them, and no message is in
        work for much too long.
        """
        if not self._started:
            return "not connected"
        consumed = {name: each for name, each in self._subscribers.items() if name not in self._paused}
        try:
            with _unavailable("check"):
                async with asyncio.timeout(2):
                    fault = await missing_consumer(await self._broker.connect(), consumed)
        except BusUnavailableError as error:
            return f"RabbitMQ does not answer ({type(error.__cause__ or error).__name__})"
        return fault or self._in_work.stuck()

    async def count_messages(self) -> None:
        """Count, for the metrics, what waits in the own queues, their dead letters, and orders that found no queue."""
        names = [queue.dead for queue in self._queues] + ([UNROUTED] if self._pools else [])
        try:
            with _unavailable("count"):
                async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                    connection = await self._broker.connect()
                    await count_messages(connection, names, metrics.dead_letters)
                    await count_messages(connection, [queue.name for queue in self._queues], metrics.queue_messages)
        except BusUnavailableError as error:
            log.info("bus.not_counted", exc_info=error)

    async def stop_consuming(self) -> None:
        """Take no more messages and let running handlers end for a time; publishing goes on."""
        # Cancelled first: FastStream would keep, unanswered, what is delivered between its own stop and the cancel.
        await asyncio.gather(*(self.pause(queue) for queue in self._queues), return_exceptions=True)
        for subscriber in self._subscribers.values():
            forget_consumer(subscriber)  # one that could not be cancelled would be waited for without end
        for stopped in await asyncio.gather(
            *(each.stop() for each in self._subscribers.values()), return_exceptions=True
        ):
            if isinstance(stopped, Exception):
                log.warning("bus.not_stopped", exc_info=stopped)

    async def stop(self) -> None:
        """Close the connection; one that does not answer is left to end with the service."""
        self._started = False
        try:
            with _unavailable("stop"):
                async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                    await self._broker.stop()
        except BusUnavailableError as error:
            log.info("bus.not_closed", exc_info=error)

    async def _copy(
        self, message: RabbitMessage, *, exchange: str, routing_key: str, headers: dict[str, object]
    ) -> None:
        await self._send(
            message.body,
            exchange=exchange,
            routing_key=routing_key,
            mandatory=True,
            headers=headers,
            message_id=message.raw_message.message_id,  # FastStream draws another one where there is none
            message_type=message.raw_message.type,
        )

    async def _send(self, body: bytes, *, exchange: str, **options: Any) -> None:
        started = time.monotonic()
        try:
            # The library's own timeout does not bound the wait for a frozen broker.
            with _unavailable("publish"):
                async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                    await self._broker.publish(
                        body,
                        exchange=_named(exchange),
                        persist=True,
                        content_type=CONTENT_TYPE,
                        correlation_id=options["message_id"],
                        **options,
                    )
        except BusUnavailableError:
            metrics.publish_failures.labels(exchange).inc()
            raise
        metrics.publish_seconds.labels(exchange).observe(time.monotonic() - started)


@contextmanager
def _unavailable(what: str) -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError:  # a lost connection shows as a cancellation that nobody asked for
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BusUnavailableError(f"the connection to RabbitMQ was lost (at {what})") from None
    except (AMQPError, FastStreamException, OSError, TimeoutError, RuntimeError) as error:
        raise BusUnavailableError(f"RabbitMQ did not answer to {what} ({type(error).__name__})") from error


def _named(exchange: str) -> Any:
    return RabbitExchange(exchange, declare=False) if exchange else None


def _lost(_: AbstractConnection | None, error: BaseException | None = None) -> None:
    if not isinstance(error, asyncio.CancelledError):  # closed by ourselves
        log.warning("bus.lost", error=type(error).__name__ if error else None)


def _reconnected(_: AbstractRobustConnection | None) -> None:
    log.info("bus.reconnected")


async def _whole(message: RabbitMessage) -> RabbitMessage:
    """Decode nothing: the handler gets the message itself, so that what cannot be read is settled like the rest."""
    return message
