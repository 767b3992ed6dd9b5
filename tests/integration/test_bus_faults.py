"""How the libraries of the bus fail, each seen on a real RabbitMQ: what TRAPS says is so, or is caught."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import aio_pika
import pytest
from radbus_contracts import topology
from radbus_contracts.envelope import Event
from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import SeriesUnroutedV1
from radbus_contracts.topology import EVENTS, SERIES_UNROUTED, Queue
from radbus_runtime.bus import Bus, BusUnavailableError
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.settings import ServiceSettings
from radbus_testing.programs import settings_of
from radbus_testing.proxy import Proxy, proxied
from radbus_testing.tripwire import Way
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

DEADLINE_S = 60
DATA = SeriesUnroutedV1(study_instance_uid="1.2", series_instance_uid="1.2.3", revision=1, reason="none")


@pytest.fixture
def queue(monkeypatch) -> Queue:
    """A queue of this test alone, declared with the topology."""
    name = f"test.{uuid.uuid4().hex[:8]}"
    queue = Queue(name, EVENTS, name)
    monkeypatch.setattr(topology, "QUEUES", (*topology.QUEUES, queue))
    return queue


@pytest.fixture
def line(stack) -> Iterator[tuple[Proxy, ServiceSettings]]:
    with proxied(stack.environment(), "RADBUS_AMQP_URL") as (proxy, environment):
        yield proxy, settings_of(environment)


@pytest.fixture
async def started() -> Callable[..., Awaitable[Bus]]:
    async with AsyncExitStack() as buses:

        async def start(settings: ServiceSettings, queue: Queue, handler) -> Bus:
            bus = Bus(settings)
            bus.subscribe(queue, SeriesUnroutedV1, handler)
            await bus.start()
            buses.push_async_callback(bus.stop)
            buses.push_async_callback(bus.stop_consuming)
            return bus

        yield start


def fact(queue: Queue) -> Outgoing:
    return Teller("test").tell(
        SERIES_UNROUTED, DATA, subject="1.2.3", institution="north", routing_key=queue.routing_key
    )


async def test_a_lost_connection_cancels_what_is_in_work_and_the_message_comes_back(line, queue, started):
    proxy, settings = line
    cancelled, again, deliveries = asyncio.Event(), asyncio.Event(), 0

    async def work(event: Event) -> None:
        nonlocal deliveries
        deliveries += 1
        if deliveries > 1:
            again.set()
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    bus = await started(settings, queue, work)
    await bus.publish(fact(queue))
    await until(lambda: _is(deliveries == 1), timeout_s=DEADLINE_S, what="message in work")
    proxy.reset()

    await asyncio.wait_for(cancelled.wait(), DEADLINE_S)
    await asyncio.wait_for(again.wait(), DEADLINE_S)
    await until(lambda: _well(bus), timeout_s=DEADLINE_S, what="bus that is well again")


async def test_a_publish_that_timed_out_may_have_happened(line, queue, started):
    proxy, settings = line
    heard: asyncio.Queue[Event] = asyncio.Queue()
    sent = fact(queue)
    bus = await started(settings, queue, heard.put)
    await bus.publish(fact(queue))  # the first one asks the broker for more than to take it
    await asyncio.wait_for(heard.get(), DEADLINE_S)
    proxy.pause(Way.TO_CLIENT)

    with pytest.raises(BusUnavailableError):
        await bus.publish(sent)
    proxy.resume()

    assert (await asyncio.wait_for(heard.get(), DEADLINE_S)).id == sent.id


async def test_a_replica_whose_consumer_is_gone_says_so_though_another_one_consumes(stack, queue, started):
    settings = settings_of(stack.environment())
    one, other = [await started(settings, queue, _ignore) for _ in range(2)]
    subscriber = one._subscribers[queue.name]
    await subscriber._queue_obj.cancel(subscriber._consumer_tag)

    assert await one.check() == f"no consumer on {queue.name}"
    assert await other.check() is None


@pytest.mark.parametrize("lost", [True, False], ids=["lost meanwhile", "slow"])
@pytest.mark.parametrize("at", ["pause", "resume"])
async def test_a_consumer_paused_or_resumed_while_the_broker_does_not_answer_comes_back_once(
    stack, line, queue, started, at, lost
):
    proxy, settings = line
    direct = settings_of(stack.environment())
    heard: asyncio.Queue[Event] = asyncio.Queue()
    bus = await started(settings, queue, heard.put)
    if at == "resume":
        await bus.pause(queue)
    proxy.pause(Way.TO_CLIENT)  # the broker does what it is asked to, and nobody hears it

    asked = asyncio.create_task(getattr(bus, at)(queue))
    if lost:
        wanted = 0 if at == "pause" else 1
        await until(lambda: _has_consumers(direct, queue, wanted), timeout_s=DEADLINE_S, what="broker that has done it")
        proxy.reset()
    with pytest.raises(BusUnavailableError):
        await asked
    proxy.resume()
    await until(lambda: _resumed(bus, queue), timeout_s=DEADLINE_S, what="bus that consumes again")

    assert await _has_consumers(direct, queue, 1)
    await bus.publish(fact(queue))
    assert await asyncio.wait_for(heard.get(), DEADLINE_S)


async def test_what_would_not_fit_into_the_headers_of_a_copy_costs_neither_message_nor_connection(
    stack, queue, started
):
    settings = settings_of(stack.environment())
    heard: asyncio.Queue[Event] = asyncio.Queue()
    bus = await started(settings, queue, heard.put)
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection, connection.channel() as channel:
        bomb = aio_pika.Message(b"no event", headers={"x-bomb": "x" * 120_000}, message_id="bomb")
        await channel.default_exchange.publish(bomb, queue.name)
        dead = await channel.get_queue(queue.dead)

        async def died() -> aio_pika.abc.AbstractIncomingMessage | None:
            return await dead.get(no_ack=True, fail=False)

        found = await until(died, timeout_s=DEADLINE_S, what="dead letter")
    await bus.publish(fact(queue))

    assert (found.message_id, "x-bomb" in found.headers) == ("bomb", False)
    assert "expected a CloudEvent" in str(found.headers["x-radbus-reason"])
    assert "x-death" not in found.headers  # the service has put it there, not the broker after the tenth try
    assert await asyncio.wait_for(heard.get(), DEADLINE_S)


async def test_what_is_published_is_on_disk_with_the_broker_and_has_its_own_id_as_correlation_id(stack, queue):
    settings = settings_of(stack.environment())
    bus, sent = Bus(settings), fact(queue)
    await bus.start()
    await bus.publish(sent)
    await bus.stop()

    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection, connection.channel() as channel:
        found = await (await channel.get_queue(queue.name)).get(no_ack=True)
    assert found.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert (found.message_id, found.correlation_id) == (sent.id, sent.id)


async def test_no_more_messages_are_in_work_than_the_prefetch_allows(stack, queue, started):
    settings = settings_of(stack.environment()).model_copy(update={"prefetch": 2})
    goes_on, in_work, most, done = asyncio.Event(), 0, 0, 0

    async def work(event: Event) -> None:
        nonlocal in_work, most, done
        in_work += 1
        most = max(most, in_work)
        await goes_on.wait()
        in_work -= 1
        done += 1

    bus = await started(settings, queue, work)
    for _ in range(6):
        await bus.publish(fact(queue))
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection, connection.channel() as channel:

        async def others_wait() -> bool | None:
            waiting = await channel.declare_queue(queue.name, passive=True)
            return (in_work == 2 and waiting.declaration_result.message_count == 4) or None

        await until(others_wait, timeout_s=DEADLINE_S, what="two in work and four that wait")
    goes_on.set()

    await until(lambda: _is(done == 6), timeout_s=DEADLINE_S, what="all that was sent done")
    assert most == 2


async def test_a_message_whose_copy_no_queue_takes_is_not_acknowledged(stack, queue, started):
    settings = settings_of(stack.environment())
    again, goes_on, deliveries = asyncio.Event(), asyncio.Event(), 0

    async def refuse(event: Event) -> None:
        nonlocal deliveries
        deliveries += 1
        if deliveries > 1:
            again.set()
            await goes_on.wait()
        raise PermanentError("expected something else")

    bus = await started(settings, queue, refuse)
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection, connection.channel() as channel:
        await channel.queue_delete(queue.dead)
        await bus.publish(fact(queue))
        await asyncio.wait_for(again.wait(), DEADLINE_S)  # there is nowhere to put it: the broker still has it
        await bus._declare()
        goes_on.set()
        dead = await channel.get_queue(queue.dead)

        async def died() -> aio_pika.abc.AbstractIncomingMessage | None:
            return await dead.get(no_ack=True, fail=False)

        found = await until(died, timeout_s=DEADLINE_S, what="dead letter")
    assert "expected something else" in str(found.headers["x-radbus-reason"])


async def _ignore(event: Event) -> None: ...


async def _resumed(bus: Bus, queue: Queue) -> bool | None:
    try:
        await bus.resume(queue)
    except BusUnavailableError:
        return None
    return await _well(bus)


async def _has_consumers(settings: ServiceSettings, queue: Queue, count: int) -> bool | None:
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection, connection.channel() as channel:
        found = await channel.declare_queue(queue.name, passive=True)
    return found.declaration_result.consumer_count == count or None


async def _is(true: bool) -> bool | None:
    return true or None


async def _well(bus: Bus) -> bool | None:
    return await bus.check() is None or None
