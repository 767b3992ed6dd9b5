"""Two versions of one fact beside each other on a real broker, by a fact of these tests' own: each is heard once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from radbus_contracts import topology
from radbus_contracts.envelope import Event, Payload
from radbus_contracts.topology import Fact, fact_queue
from radbus_runtime.bus import Bus
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.settings import ServiceSettings
from radbus_testing.programs import settings_of
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

TELLER = Teller("laboratory")


class SampleTakenV1(Payload):
    """A sample, its volume in millilitres."""

    volume_ml: int


class SampleTakenV2(Payload):
    """A sample, its volume in microlitres: V1 cannot say that, so it is another version."""

    volume_ul: int


@pytest.fixture
def settings(stack) -> ServiceSettings:
    return settings_of(stack.environment())


@pytest.fixture
def versions(monkeypatch) -> tuple[Fact, Fact]:
    """The fact in both versions, and the queues of two services for each, declared with the topology."""
    noun = f"sample{uuid.uuid4().hex[:8]}"
    old, new = Fact(SampleTakenV1, f"{noun}.taken.v1"), Fact(SampleTakenV2, f"{noun}.taken.v2")
    queues = (fact_queue("before", old), fact_queue("after", old), fact_queue("after", new))
    monkeypatch.setattr(topology, "QUEUES", (*topology.QUEUES, *queues))
    return old, new


@asynccontextmanager
async def hearing(settings: ServiceSettings, service: str, *facts: Fact) -> AsyncIterator[list[float]]:
    """A replica of a service that knows these versions; what it has heard, in millilitres."""
    heard: list[float] = []

    async def on_old(event: Event[SampleTakenV1]) -> None:
        heard.append(event.data.volume_ml)

    async def on_new(event: Event[SampleTakenV2]) -> None:
        heard.append(event.data.volume_ul / 1000)

    bus = Bus(settings)
    for fact in facts:
        if fact.payload is SampleTakenV1:
            bus.subscribe(fact_queue(service, fact), SampleTakenV1, on_old)
        else:
            bus.subscribe(fact_queue(service, fact), SampleTakenV2, on_new)
    await bus.start()
    try:
        yield heard
    finally:
        await bus.stop_consuming()
        await bus.stop()


def told_before(old: Fact, _: Fact, volume_ml: int) -> list[Outgoing]:
    return [TELLER.tell(old, SampleTakenV1(volume_ml=volume_ml), subject="s", institution="north")]


def told_meanwhile(old: Fact, new: Fact, volume_ml: int) -> list[Outgoing]:
    both = (old, SampleTakenV1(volume_ml=volume_ml)), (new, SampleTakenV2(volume_ul=volume_ml * 1000))
    return TELLER.tell_both(*both, subject="s", institution="north", event_id=str(uuid.uuid4()))


def told_afterwards(_: Fact, new: Fact, volume_ml: int) -> list[Outgoing]:
    return [TELLER.tell(new, SampleTakenV2(volume_ul=volume_ml * 1000), subject="s", institution="north")]


RELEASES: tuple[Callable[[Fact, Fact, int], list[Outgoing]], ...] = (told_before, told_meanwhile, told_afterwards)


async def test_a_service_that_knows_both_versions_hears_each_fact_once_whichever_release_tells_it(settings, versions):
    old, new = versions

    async with AsyncExitStack() as opened:
        before = await opened.enter_async_context(hearing(settings, "before", old))
        after = await opened.enter_async_context(hearing(settings, "after", old, new))
        publisher = Bus(settings)
        await publisher.start()
        opened.push_async_callback(publisher.stop)
        for volume_ml, release in enumerate(RELEASES, start=1):
            for message in release(old, new, volume_ml):
                await publisher.publish(message)

        async def all_heard() -> bool | None:
            return (len(after) >= 3 and len(before) >= 2) or None

        await until(all_heard, timeout_s=30, what="each release's facts")
        await asyncio.sleep(0.5)  # whatever would come twice has come by now

    assert sorted(after) == [1, 2, 3]
    assert sorted(before) == [1, 2]  # which is why the older version is told until nobody reads it any more


async def test_both_versions_are_one_outbox_entry_each_the_same_at_every_telling(versions):
    old, new = versions

    first, second = (
        TELLER.tell_both(
            (old, SampleTakenV1(volume_ml=1)),
            (new, SampleTakenV2(volume_ul=1000)),
            subject="s",
            institution="north",
            event_id="sample-1",
        )
        for _ in range(2)
    )

    assert [message.id for message in first] == [message.id for message in second]
    assert len({message.id for message in first}) == 2
    assert Event[SampleTakenV1].parse(first[0].body.encode()).successor == new.type
    assert Event[SampleTakenV2].parse(first[1].body.encode()).successor is None
