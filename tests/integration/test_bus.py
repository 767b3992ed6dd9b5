"""The bus on a real RabbitMQ: what is settled how, and what is kept when the broker is not there."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from radbus_contracts import topology
from radbus_contracts.envelope import Event
from radbus_contracts.errors import PermanentError, TransientError
from radbus_contracts.facts import SeriesUnroutedV1
from radbus_contracts.topology import EVENTS, SERIES_UNROUTED, Queue
from radbus_runtime.bus import Bus, BusUnavailableError
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.outbox import OUTBOX_INDEX, OutboxRelay
from radbus_runtime.settings import ServiceSettings
from radbus_runtime.settlement import REASON_HEADER, RETRIES_HEADER
from radbus_storage.documents import Documents
from radbus_testing.deliveries import deliver
from radbus_testing.programs import settings_of
from radbus_testing.proxy import Proxy, proxied
from radbus_testing.waiting import until
from structlog.testing import capture_logs

pytestmark = pytest.mark.stack

DATA = SeriesUnroutedV1(study_instance_uid="1.2", series_instance_uid="1.2.3", revision=1, reason="none")


@pytest.fixture
def settings(stack) -> ServiceSettings:
    return settings_of(stack.environment())


@pytest.fixture
def queue(monkeypatch) -> Queue:
    """A queue of this test alone, declared with the topology."""
    name = f"test.{uuid.uuid4().hex[:8]}"
    queue = Queue(name, EVENTS, name)
    monkeypatch.setattr(topology, "QUEUES", (*topology.QUEUES, queue))
    return queue


@asynccontextmanager
async def consuming(
    settings: ServiceSettings, queue: Queue, handler: Callable[[Event], Awaitable[None]]
) -> AsyncIterator[Bus]:
    bus = Bus(settings)
    bus.subscribe(queue, SeriesUnroutedV1, handler)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop_consuming()
        await bus.stop()


def fact(queue: Queue) -> Outgoing:
    return Teller("test").tell(
        SERIES_UNROUTED, DATA, subject="1.2.3", institution="north", routing_key=queue.routing_key
    )


async def next_message(settings: ServiceSettings, name: str, *, timeout_s: float = 15) -> AbstractIncomingMessage:
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection, connection.channel() as channel, asyncio.timeout(timeout_s):
        declared = await channel.declare_queue(name, passive=True)
        while (message := await declared.get(fail=False)) is None:
            await asyncio.sleep(0.05)
        await message.ack()
        return message


async def test_a_message_reaches_its_handler_whole_and_is_gone_afterwards(settings, queue):
    seen: asyncio.Queue[Event] = asyncio.Queue()

    async with consuming(settings, queue, seen.put) as bus:
        sent = fact(queue)
        await bus.publish(sent)
        event = await asyncio.wait_for(seen.get(), 5)

    assert event.id == sent.id
    assert event.data == DATA


async def test_what_may_succeed_later_comes_back_by_the_retry_ladder(settings, queue):
    tries: list[str] = []
    done = asyncio.Event()

    async def fail_once(event: Event) -> None:
        tries.append(event.id)
        if len(tries) == 1:
            raise TransientError("the store is away")
        done.set()

    async with consuming(settings, queue, fail_once) as bus:
        await bus.publish(fact(queue))
        await asyncio.wait_for(done.wait(), 10)

    assert tries[0] == tries[1]


async def test_a_message_that_is_itself_at_fault_goes_to_the_dead_letters_with_the_reason(settings, queue):
    async def refuse(_: Event) -> None:
        raise PermanentError("expected a revision of 1 or more")

    async with consuming(settings, queue, refuse) as bus:
        await bus.publish(fact(queue))
        dead = await next_message(settings, queue.dead)

    assert dead.headers[REASON_HEADER] == "PermanentError: expected a revision of 1 or more"
    assert RETRIES_HEADER not in dead.headers


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{}", b'{"data": {"PatientName": "DOE^JANE"}}', b"[" * 5000])
async def test_what_is_no_event_goes_to_the_dead_letters_without_quoting_it(settings, queue, body):
    async def never(_: Event) -> None:
        pytest.fail("the handler must not see it")

    async with consuming(settings, queue, never):
        connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
        async with connection, connection.channel() as channel:
            exchange = await channel.get_exchange(EVENTS)
            await exchange.publish(aio_pika.Message(body), routing_key=queue.routing_key)
        dead = await next_message(settings, queue.dead)

    assert dead.body == body
    assert "DOE" not in str(dead.headers)


async def test_a_message_whose_consumer_dies_each_time_is_a_dead_letter_after_its_limit(settings, stack, queue):
    async with consuming(settings, queue, lambda _: asyncio.sleep(0)):
        pass  # so that its queues are there
    with proxied(stack.environment(), "RADBUS_AMQP_URL") as (proxy, through):
        await deliver(settings.amqp_url.get_secret_value(), [fact(queue)])

        for _ in range(topology.DELIVERY_LIMIT + 1):
            connection = await aio_pika.connect(through["RADBUS_AMQP_URL"])
            channel = await connection.channel()
            waiting = await channel.get_queue(queue.name)
            await until(partial(waiting.get, fail=False), timeout_s=15, what="delivery")
            proxy.reset()

        dead = await next_message(settings, queue.dead)
    assert dead.headers["x-death"][0]["reason"] == "delivery_limit"


async def test_an_unknown_exception_counts_as_one_that_may_pass(settings, queue):
    tries: asyncio.Queue[int] = asyncio.Queue()

    async def break_once(_: Event) -> None:
        await tries.put(1)
        if tries.qsize() == 1:
            raise ZeroDivisionError

    async with consuming(settings, queue, break_once) as bus:
        await bus.publish(fact(queue))
        async with asyncio.timeout(10):
            while tries.qsize() < 2:
                await asyncio.sleep(0.05)


async def test_an_order_to_a_pool_that_nobody_declared_is_not_lost(settings, queue):
    message = Outgoing(
        id=str(uuid.uuid4()), exchange=topology.TASKS, routing_key="nobody", type="t", body="{}", traceparent=None
    )

    async with consuming(settings, queue, lambda _: asyncio.sleep(0)) as bus:
        await bus.publish(message, mandatory=True)
        unrouted = await next_message(settings, topology.UNROUTED)

    assert unrouted.message_id == message.id


async def test_a_publish_to_a_broker_that_is_gone_ends_in_bounded_time(stack, queue):
    with freezable(stack.environment()) as (through, proxy):
        bus = Bus(through)
        await bus.start()

        proxy.pause()
        with pytest.raises(BusUnavailableError):
            await asyncio.wait_for(bus.publish(fact(queue)), 10)

        assert await bus.check() is not None
        await asyncio.wait_for(asyncio.shield(bus.stop()), 30)


async def test_a_service_whose_broker_is_frozen_ends_in_bounded_time(stack, queue):
    with freezable(stack.environment()) as (through, proxy):
        bus = Bus(through)
        bus.subscribe(queue, SeriesUnroutedV1, lambda _: asyncio.sleep(0))
        await bus.start()

        proxy.pause()

        await asyncio.wait_for(bus.stop_consuming(), 10)
        await asyncio.wait_for(bus.stop(), 10)


async def test_a_start_that_broke_off_half_way_leaves_no_second_consumer(settings, queue):
    other = replace(queue, name=f"{queue.name}.late")
    bus = Bus(settings)
    bus.subscribe(queue, SeriesUnroutedV1, lambda _: asyncio.sleep(0))
    bus.subscribe(other, SeriesUnroutedV1, lambda _: asyncio.sleep(0))  # it is not there yet: nobody has declared it
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection, connection.channel() as channel:
        with capture_logs() as lines:
            starting = asyncio.create_task(bus.start())
            await until(lambda: _waited(lines), timeout_s=15, what="start that broke off")
        await channel.declare_queue(other.name, durable=True, arguments={"x-queue-type": "quorum"})
        await asyncio.wait_for(starting, 30)

        assert await _consumers(channel, queue.name, at_least=1) == 1
    await bus.stop()


async def test_a_queue_that_was_deleted_comes_back_with_its_consumer(settings, queue):
    seen: asyncio.Queue[Event] = asyncio.Queue()

    async with consuming(settings, queue, seen.put) as bus:
        connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
        keeping = asyncio.create_task(bus.keep_declared(every_s=0.2))
        async with connection, connection.channel() as channel:
            await channel.queue_delete(queue.name)
            await _consumers(channel, queue.name, at_least=1)
        await bus.publish(fact(queue))
        await asyncio.wait_for(seen.get(), 5)
        keeping.cancel()


async def test_a_message_that_nobody_can_publish_yet_is_a_transient_error(settings, queue):
    with pytest.raises(BusUnavailableError):
        await Bus(settings).publish(fact(queue))


@pytest.mark.parametrize("year", [2020, 2120], ids=["a crash", "a crash and a clock that was wrong"])
async def test_what_a_crash_left_in_an_outbox_is_sent_by_the_sweep_and_taken_out(settings, queue, institution, year):
    seen: asyncio.Queue[Event] = asyncio.Queue()
    documents = Documents(settings.documents)
    collection = documents[f"outbox_{institution}"]
    await collection.ensure_indexes([OUTBOX_INDEX])
    left = fact(queue)
    entry = left.document()
    entry["at"] = entry["at"].replace(year=year)
    await collection.insert({"_id": "x", "outbox": [entry]})

    async with consuming(settings, queue, seen.put) as bus:
        swept = await OutboxRelay(bus, [collection]).sweep_once()
        event = await asyncio.wait_for(seen.get(), 5)

    assert swept == 1
    assert event.id == left.id
    assert (await collection.find_one({"_id": "x"}))["outbox"] == []
    documents.close()


@contextmanager
def freezable(environment: Mapping[str, str]) -> Iterator[tuple[ServiceSettings, Proxy]]:
    """Give settings that lead to the broker through a proxy."""
    with proxied(environment, "RADBUS_AMQP_URL") as (proxy, through):
        yield settings_of(through), proxy


async def _waited(lines: list[MutableMapping[str, Any]]) -> bool | None:
    return any(line["event"] == "bus.waited" for line in lines) or None


async def _consumers(channel: AbstractChannel, name: str, *, at_least: int) -> int:
    async def ask() -> int | None:
        try:
            declared = await channel.declare_queue(name, passive=True)
        except ChannelNotFoundEntity:
            await channel.reopen()
            return None
        count = declared.declaration_result.consumer_count or 0
        return count if count >= at_least else None

    return await until(ask, timeout_s=15, what=f"consumer of {name}")
