"""Dead letters on a real broker: what ends there and why, and what an operator can do with it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aio_pika
import pytest
import requests
from aio_pika.abc import AbstractChannel
from radbus_cli.__main__ import app
from radbus_cli.dead_queues import NotTakenError, UnknownQueueError
from radbus_cli.events import BrokerUnreachableError
from radbus_contracts import topology
from radbus_contracts.envelope import CONTENT_TYPE, Event
from radbus_contracts.errors import PermanentError, TransientError
from radbus_contracts.facts import Dialect, SeriesCompletedV1, SeriesUnroutedV1, Source
from radbus_contracts.identity import record_id
from radbus_contracts.topology import EVENTS, ROUTER_SERIES_COMPLETED, SERIES_COMPLETED, SERIES_UNROUTED, Queue
from radbus_runtime.bus import Bus
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.settings import ServiceSettings
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_testing.deliveries import deliver, disordered, doubled
from radbus_testing.programs import service_running, settings_of
from radbus_testing.proxy import proxied
from radbus_testing.tripwire import AMQP_CONFIRM, Passing, Way
from radbus_testing.waiting import until
from typer.testing import CliRunner

pytestmark = pytest.mark.stack

DEADLINE_S = 20
DATA = SeriesUnroutedV1(study_instance_uid="1.2", series_instance_uid="1.2.3", revision=1, reason="none")
Handler = Callable[[Event[SeriesUnroutedV1]], Awaitable[None]]


@pytest.fixture
def settings(stack) -> ServiceSettings:
    return settings_of(stack.environment())


@pytest.fixture
def url(stack) -> str:
    return stack.environment()["RADBUS_AMQP_URL"]


@pytest.fixture
def queue(monkeypatch) -> Queue:
    """A queue of this test alone, declared with the topology."""
    name = f"test.{uuid.uuid4().hex[:8]}"
    queue = Queue(name, EVENTS, name)
    monkeypatch.setattr(topology, "QUEUES", (*topology.QUEUES, queue))
    return queue


@pytest.fixture
def dead(stack, monkeypatch) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Run `radbus dead` as the operator of the test's stack."""
    monkeypatch.setenv("RADBUS_STACK_ROOT", str(stack.layout.root))
    monkeypatch.setenv("RADBUS_STACK_BASE_PORT", str(stack.layout.base_port))

    async def run(*arguments: str) -> dict[str, Any]:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["dead", *arguments, "--json"])
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout)

    return run


@asynccontextmanager
async def consuming(settings: ServiceSettings, queue: Queue, handler: Handler) -> AsyncIterator[Bus]:
    bus = Bus(settings)
    bus.subscribe(queue, SeriesUnroutedV1, handler)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop_consuming()
        await bus.stop()


def facts(queue: Queue, count: int) -> list[Outgoing]:
    teller = Teller("test")
    return [
        teller.tell(SERIES_UNROUTED, DATA, subject="1.2.3", institution="north", routing_key=queue.routing_key)
        for _ in range(count)
    ]


async def refuse(_: Event) -> None:
    raise PermanentError("expected a revision of 1 or more")


async def killed(settings: ServiceSettings, url: str, queue: Queue, count: int) -> list[str]:
    """Let messages die, and return their ids in the order in which they did."""
    sent = facts(queue, count)
    async with consuming(settings, queue, refuse) as bus:
        for number, message in enumerate(sent, start=1):
            await bus.publish(message)
            await _counted(url, queue.dead, number)
    return [message.id for message in sent]


async def _counted(url: str, name: str, count: int) -> None:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:

        async def there() -> bool | None:
            found = await channel.declare_queue(name, passive=True)
            return found.declaration_result.message_count == count or None

        await until(there, timeout_s=DEADLINE_S, what=f"{count} messages in {name}")


def ids(found: dict[str, Any]) -> list[str]:
    return [letter["id"] for [*letters] in found.values() for letter in letters if isinstance(letter, dict)]


# What a service is sent that it cannot read


@pytest.fixture(scope="module")
def router(stack, tmp_path_factory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("router") / "router.log"
    with service_running("router", stack.environment(), port=stack.layout.port("router"), log=log) as url:
        yield url


def completed(institution: str, uid: str) -> Outgoing:
    data = SeriesCompletedV1(
        study_instance_uid="1.1",
        series_instance_uid=uid,
        revision=1,
        modality="CT",
        instance_count=40,
        source=Source(dialect=Dialect.C_STORE, calling_ae_title="CT1"),
    )
    return Teller("ingest").tell(SERIES_COMPLETED, data, subject=uid, institution=institution)


def poisons(institution: str) -> dict[str, tuple[bytes, str, str]]:
    """Give by kind the body, the content type, and what the reason says."""
    whole = json.loads(completed(institution, "1.9").body)

    def but(**changes: Any) -> bytes:
        return json.dumps({name: value for name, value in {**whole, **changes}.items() if value is not None}).encode()

    data = whole["data"]
    return {
        "not-json": (b"DOE^JANE", CONTENT_TYPE, "json_invalid"),
        "wrong-type": (but(data={**data, "revision": "DOE^JANE"}), CONTENT_TYPE, "data.revision: int_parsing"),
        "missing-fields": (but(data={"revision": 1}), CONTENT_TYPE, "data.series_instance_uid: missing"),
        "wrong-version": (but(specversion="2.0"), CONTENT_TYPE, "specversion: literal_error"),
        "unknown-type": (but(type="radbus.DOE^JANE.v1"), CONTENT_TYPE, "expected the type radbus.series.completed.v1"),
        "empty-body": (b"", CONTENT_TYPE, "json_invalid"),
        "huge-field": (but(subject="DOE^JANE" * 600_000), CONTENT_TYPE, "expected at most 4194304 bytes"),
        "wrong-content-type": (but(), "text/xml; charset=utf-8", f"expected the content type {CONTENT_TYPE}"),
        "no-institution": (but(institution=None), CONTENT_TYPE, "institution: missing"),
        "invalid-utf-8": (but().replace(b"1.9", b"\xff\xfe"), CONTENT_TYPE, "json_invalid"),
    }


async def test_each_kind_of_poison_is_a_dead_letter_with_its_reason_and_harms_nobody(
    stack, url, router, institution, dead
):
    documents = Documents(settings_of(stack.environment()).documents)
    good = [f"2.25.{number}" for number in range(10)]
    for uid in good:
        await documents[records.SERIES].insert(_series(institution, uid))
    bad = poisons(institution)
    started = await asyncio.to_thread(_started, router)

    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        for uid, (kind, (body, content_type, _)) in zip(good, bad.items(), strict=True):
            await _send(channel, body, content_type, f"{institution}/{kind}")
            await deliver(url, doubled([completed(institution, uid)]))

    async def all_routed() -> bool | None:
        return await documents[records.ROUTINGS].count({"institution": institution, "outbox": []}) == 10 or None

    async def all_dead() -> dict[str, Any] | None:
        found = await dead("list", "--queue", ROUTER_SERIES_COMPLETED.name)
        letters = {each["id"]: each for each in found["dead_letters"] if each["id"].startswith(institution)}
        return letters if len(letters) == 10 else None

    await until(all_routed, timeout_s=DEADLINE_S, what="routings of the neighbours")
    letters = await until(all_dead, timeout_s=DEADLINE_S, what="ten dead letters")
    documents.close()

    for kind, (_, _, reason) in bad.items():
        assert reason in letters[f"{institution}/{kind}"]["reason"]
        assert "DOE" not in letters[f"{institution}/{kind}"]["reason"]
    assert {each["attempts"] for each in letters.values()} == {1}
    assert await asyncio.to_thread(_started, router) == started

    for kind in bad:  # what cannot be read can be shown, replayed and dropped like anything else
        [shown] = (await dead("show", f"{institution}/{kind}"))["dead_letters"]
        assert (shown["queue"], shown["history"]) == (ROUTER_SERIES_COMPLETED.name, [])
    await dead("replay", f"{institution}/invalid-utf-8")

    async def died_again() -> list[Any] | None:
        found = (await dead("list", "--queue", ROUTER_SERIES_COMPLETED.name))["dead_letters"]
        return [each for each in found if each["id"].startswith(institution) and each["replays"] == 1] or None

    [again] = await until(died_again, timeout_s=DEADLINE_S, what="the replayed letter among the dead")
    assert "json_invalid" in again["reason"]
    for kind in bad:
        assert ids(await dead("drop", f"{institution}/{kind}", "--yes")) == [f"{institution}/{kind}"]
    found = await dead("list", "--queue", ROUTER_SERIES_COMPLETED.name)
    assert not [each for each in ids(found) if each.startswith(institution)]


async def test_facts_that_come_twice_and_in_another_order_are_each_done_once(stack, url, router, institution):
    documents = Documents(settings_of(stack.environment()).documents)
    uids = [f"2.25.{number}" for number in range(20)]
    for uid in uids:
        await documents[records.SERIES].insert(_series(institution, uid))

    await deliver(url, disordered(doubled([completed(institution, uid) for uid in uids]), seed=7))

    async def all_routed() -> int | None:
        return await documents[records.ROUTINGS].count({"institution": institution, "outbox": []}) == 20 or None

    await until(all_routed, timeout_s=DEADLINE_S, what="routings")
    documents.close()


# What an operator can do


async def test_a_letter_looked_at_thirty_times_is_still_there_and_the_order_is_kept(settings, url, queue, dead):
    died = await killed(settings, url, queue, 12)

    looks = [ids(await dead("list", "--queue", queue.name)) for _ in range(30)]

    assert looks == [died] * 30


async def test_looking_at_a_part_again_and_again_loses_none(settings, url, queue, dead):
    died = await killed(settings, url, queue, 5)

    for _ in range(30):
        found = await dead("list", "--queue", queue.name, "--limit", "2")
        assert len(found["dead_letters"]) == 2
        assert found["not_looked_at"] == {queue.name: 3}

    assert sorted(ids(await dead("list", "--queue", queue.name))) == sorted(died)


async def test_letters_are_listed_over_all_queues_with_what_they_are_and_found_by_reason_and_age(
    settings, url, queue, dead
):
    [died] = await killed(settings, url, queue, 1)

    everywhere = {each["id"]: each for each in (await dead("list"))["dead_letters"]}
    mine = "--queue", queue.dead
    found = [
        ids(await dead("list", *mine, *wanted))
        for wanted in (
            ("--reason", "REVISION OF 1"),
            ("--newer-than", "1h"),
            ("--reason", "another"),
            ("--older-than", "1h"),
        )
    ]

    letter = everywhere[died]
    assert (letter["queue"], letter["type"], letter["subject"]) == (queue.name, "radbus.series.unrouted.v1", "1.2.3")
    assert letter["reason"] == "PermanentError: expected a revision of 1 or more"
    assert found == [[died], [died], [], []]


async def test_a_replayed_letter_is_done_once_its_cause_is_gone_and_tells_its_history(settings, url, queue, dead):
    [died] = await killed(settings, url, queue, 1)
    seen: asyncio.Queue[Event] = asyncio.Queue()

    await dead("replay", died)
    async with consuming(settings, queue, refuse):
        await _counted(url, queue.dead, 1)
    [again] = (await dead("show", died))["dead_letters"]
    await dead("replay", died)
    async with consuming(settings, queue, seen.put):
        event = await asyncio.wait_for(seen.get(), DEADLINE_S)

    assert (event.id, event.data) == (died, DATA)
    [life] = again["history"]
    assert (again["replays"], life["x-radbus-reason"]) == (1, again["reason"])
    assert datetime.fromisoformat(life["x-radbus-died-at"]) <= datetime.fromisoformat(life["at"])
    assert "@" in life["by"]
    assert (await dead("list", "--queue", queue.name))["dead_letters"] == []


async def test_many_are_replayed_or_dropped_only_when_it_is_said_so(settings, url, queue, dead):
    died = await killed(settings, url, queue, 3)
    mine = "--queue", queue.name

    for refused in (("replay", *mine), ("drop", *mine), ("drop", died[0])):
        with pytest.raises(PermanentError, match="add --yes"):
            await dead(*refused)
    with pytest.raises(PermanentError, match="expected the id of a dead letter"):
        await dead("show", "none")
    with pytest.raises(UnknownQueueError):
        await dead("list", "--queue", "none")
    dropped = ids(await dead("drop", died[1], "--yes"))
    replayed = ids(await dead("replay", *mine, "--yes"))

    assert (dropped, replayed) == ([died[1]], [died[0], died[2]])
    seen: asyncio.Queue[Event] = asyncio.Queue()
    async with consuming(settings, queue, seen.put):
        done = [(await asyncio.wait_for(seen.get(), DEADLINE_S)).id for _ in range(2)]
    assert done == [died[0], died[2]]


async def test_a_replay_that_is_cut_before_its_confirm_leaves_the_message_twice_and_never_not_at_all(
    stack, settings, url, queue, monkeypatch, dead
):
    [died] = await killed(settings, url, queue, 1)
    with proxied(stack.environment(), "RADBUS_AMQP_URL") as (proxy, through):
        monkeypatch.setenv("RADBUS_AMQP_URL", through["RADBUS_AMQP_URL"])
        cut = proxy.cut_when(Passing(Way.TO_CLIENT, AMQP_CONFIRM))

        with pytest.raises(BrokerUnreachableError):
            await dead("replay", died)
        assert cut.done()
    monkeypatch.setenv("RADBUS_AMQP_URL", url)

    await _counted(url, queue.name, 1)
    await _counted(url, queue.dead, 1)


async def test_a_replay_to_a_queue_that_is_gone_takes_nothing_out(settings, url, queue, dead):
    [died] = await killed(settings, url, queue, 1)
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        await channel.queue_delete(queue.name)

    with pytest.raises(NotTakenError):
        await dead("replay", died)

    assert ids(await dead("list", "--queue", queue.name)) == [died]


async def test_a_frozen_broker_ends_a_look_in_bounded_time(stack, settings, url, queue, monkeypatch, dead):
    await killed(settings, url, queue, 1)
    with proxied(stack.environment(), "RADBUS_AMQP_URL") as (proxy, through):
        monkeypatch.setenv("RADBUS_AMQP_URL", through["RADBUS_AMQP_URL"])
        proxy.pause_when(Passing(Way.TO_SERVER, queue.dead.encode()))

        with pytest.raises(BrokerUnreachableError):
            await asyncio.wait_for(dead("list", "--queue", queue.name), 45)


async def test_what_the_broker_gave_up_says_so_and_after_a_replay_can_still_be_put_off(settings, url, queue, dead):
    async with consuming(settings, queue, refuse):
        pass  # so that its queues are there
    [sent] = facts(queue, 1)
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        await deliver(url, [sent])
        waiting = await channel.get_queue(queue.name)
        for _ in range(topology.DELIVERY_LIMIT + 1):  # as if its consumer ended each time
            message = await until(lambda: waiting.get(fail=False), timeout_s=DEADLINE_S, what="delivery")
            await message.reject(requeue=True)
    await _counted(url, queue.dead, 1)
    [letter] = (await dead("list", "--queue", queue.name))["dead_letters"]
    tries: asyncio.Queue[Event] = asyncio.Queue()

    async def put_off_once(event: Event) -> None:
        await tries.put(event)
        if tries.qsize() == 1:
            raise TransientError("the store is away")

    await dead("replay", sent.id)
    async with consuming(settings, queue, put_off_once):

        async def twice() -> bool | None:
            return tries.qsize() == 2 or None

        await until(twice, timeout_s=DEADLINE_S, what="second try")

    assert "delivered 11 times and never settled" in letter["reason"]
    assert (letter["id"], letter["attempts"]) == (sent.id, 11)
    assert letter["died_at"] is not None


async def _send(channel: AbstractChannel, body: bytes, content_type: str, message_id: str) -> None:
    message = aio_pika.Message(body, content_type=content_type, message_id=message_id)
    await channel.default_exchange.publish(message, ROUTER_SERIES_COMPLETED.name)


def _series(institution: str, uid: str) -> dict[str, Any]:
    return {
        "_id": record_id(institution, uid),
        "institution": institution,
        "study_instance_uid": "1.1",
        "series_instance_uid": uid,
        "revision": 1,
        "instance_count": 40,
        "elements": {"Modality": "CT"},
        "all": {},
    }


def _started(router: str) -> str:
    """Return the time at which the service's process has started."""
    lines = requests.get(f"{router}/metrics", timeout=5).text.splitlines()
    return next(line for line in lines if line.startswith("process_start_time_seconds"))
