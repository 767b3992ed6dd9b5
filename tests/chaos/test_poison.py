"""Messages that nobody can read, that nobody takes, that come twice and in any order: nothing else is disturbed."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import httpx2
import pytest
from radbus_cli.__main__ import app
from radbus_cli.dead_queues import DeadQueues
from radbus_contracts import topology
from radbus_contracts.envelope import CONTENT_TYPE
from radbus_contracts.topology import Queue
from radbus_runtime.events import Outgoing
from radbus_runtime.headers import REASON_HEADER, RETRIES_HEADER
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_testing.deliveries import deliver, disordered, doubled
from radbus_testing.programs import settings_of
from radbus_testing.waiting import eventually, until
from typer.testing import CliRunner

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

DEADLINE_S = 240
POOL = topology.pool_queue("default")
QUEUES = (*topology.QUEUES, POOL)
SERVICES = ("ingest", "router", "scheduler", "results", "worker-0", "worker-1")


@dataclass(frozen=True)
class Poison:
    """A message that cannot be settled, and what must be said of it. `{mark}` in its body makes it one of its kind."""

    body: bytes
    reason: str = "expected a CloudEvent with"
    content_type: str | None = CONTENT_TYPE
    headers: dict[str, Any] = field(default_factory=dict)


def event(**changes: Any) -> bytes:
    """An event of another queue, whole but for what is changed."""
    whole = {
        "specversion": "1.0",
        "id": "{mark}",
        "source": "radbus/test",
        "type": topology.FEEDBACK_RECORDED.type,
        "subject": "1.2.3",
        "time": "2026-01-02T00:00:00Z",
        "institution": "nobody",
        "data": {},
    }
    return json.dumps({**whole, **changes}).encode()


KINDS = {
    "no JSON": Poison(b"hello {mark}"),
    "no UTF-8": Poison(b'"{mark}\xff\xfe"'),
    "half a surrogate": Poison(b'{"id": "{mark}\\ud800"}'),
    "empty": Poison(b""),
    "a list": Poison(b'["{mark}"]'),
    "no fields": Poison(b'{"other": "{mark}"}'),
    "another version": Poison(event(specversion="0.3")),
    "another event": Poison(event(), reason="expected (a CloudEvent with|the type)"),
    "wrong types": Poison(event(id=7, institution=["{mark}"], data="none")),
    "not a number": Poison(b'{"id": "{mark}", "data": {"attempt": NaN, "revision": Infinity, "progress": -Infinity}}'),
    "nested": Poison(b'{"id": "{mark}", "data": ' + 100_000 * b"[" + 100_000 * b"]" + b"}"),
    "huge": Poison(
        b'{"id": "{mark}", "x": "' + 4 * 1024 * 1024 * b"x" + b'"}', reason="expected at most 4194304 bytes"
    ),
    "another content type": Poison(event(), reason="expected the content type", content_type="text/plain"),
    "no content type": Poison(b'{"id": "{mark}"}', content_type=None),
    "headers without end": Poison(b'{"id": "{mark}"}', headers={"x-bomb": "x" * 120_000}),
    "many headers": Poison(b'{"id": "{mark}"}', headers={f"x-{number}": number for number in range(8_000)}),
    "retries without end": Poison(b'{"id": "{mark}"}', headers={RETRIES_HEADER: "9" * 5_000}),
    "headers of wrong types": Poison(
        b'{"id": "{mark}"}',
        headers={"traceparent": {"a": [1, None]}, REASON_HEADER: 7, RETRIES_HEADER: bytearray(b"\xff")},
    ),
}


@asynccontextmanager
async def broker(radbus) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    connection = await aio_pika.connect(radbus.environment()["RADBUS_AMQP_URL"], timeout=30)
    async with connection, connection.channel(on_return_raises=True) as channel:
        yield channel


@pytest.fixture
def dead(radbus, monkeypatch) -> Callable[..., Any]:
    """Run `radbus dead` as the operator of the test's stack."""
    for name, value in radbus.environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, ["dead", *arguments, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


def processes(radbus) -> dict[str, int]:
    own = {program for name in SERVICES for program in radbus.replicas_of(name)}
    return {each.name: each.pid for each in radbus.status() if each.name in own}


async def test_poison_of_every_kind_in_every_queue_is_dead_with_its_reason_and_disturbs_nothing(
    radbus, hospital, make_series, balanced, dead
):
    before, mark, series = processes(radbus), uuid.uuid4().hex[:12], make_series()
    # The same for all queues but for its id, by which the dead letter is known.
    expected = {(queue.name, f"{mark}-{number}"): kind for queue in QUEUES for number, kind in enumerate(KINDS)}

    async with broker(radbus) as channel:
        for (queue, message_id), kind in expected.items():
            await channel.default_exchange.publish(message_of(KINDS[kind], message_id), queue, timeout=60)
    await asyncio.to_thread(hospital.upload, series.instances)
    books = await balanced([series], timeout_s=DEADLINE_S)
    found = await until(
        lambda: letters(dead, mark, len(expected)), timeout_s=DEADLINE_S, what="all of them dead", every_s=2
    )

    try:
        assert books.states() == {"completed": 1}
        assert found.keys() == expected.keys()
        unsaid = {key: found[key] for key, kind in expected.items() if not re.search(KINDS[kind].reason, found[key])}
        assert not unsaid
        shown = await asyncio.to_thread(dead, "show", f"{mark}-0", "--queue", POOL.name)
        assert shown["dead_letters"][0]["body"] == f"hello {mark}-0"
        assert processes(radbus) == before
    finally:
        await bury(radbus, mark)
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)


def message_of(poison: Poison, message_id: str) -> aio_pika.Message:
    return aio_pika.Message(
        poison.body.replace(b"{mark}", message_id.encode()),
        content_type=poison.content_type,
        headers=poison.headers,
        message_id=message_id,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def letters(dead, mark: str, count: int) -> dict[tuple[str, str], str] | None:
    """Return the reasons of the letters of this test by queue and id, once there are so many."""
    told = await asyncio.to_thread(dead, "list")
    found = {(each["queue"], each["id"]): each["reason"] for each in told["dead_letters"] if mark in each["id"]}
    return found if len(found) >= count else None


async def bury(radbus, mark: str) -> None:
    async with DeadQueues.of(radbus.environment()["RADBUS_AMQP_URL"]) as queues:
        for queue in QUEUES:
            async with queues.look(queue.name, limit=1000) as found:
                async for each in found:
                    if mark in each.letter.id:
                        await queues.drop(each)


async def test_an_order_that_no_queue_takes_is_seen_counted_and_can_be_replayed(radbus, dead):
    order = Outgoing(str(uuid.uuid4()), topology.TASKS, "nowhere", topology.RUN_TASK.type, "{}", None)
    gauge = f'radbus_dead_letters{{queue="{topology.UNROUTED}"}}'
    metrics = f"{radbus.url('scheduler')}/metrics"

    await deliver(radbus.environment()["RADBUS_AMQP_URL"], [order])
    listed = await asyncio.to_thread(dead, "list", "--queue", topology.UNROUTED)
    counted = await asyncio.to_thread(
        eventually,
        lambda: re.search(rf"^{re.escape(gauge)} ([1-9]\S*)$", httpx2.get(metrics).text, re.MULTILINE),
        timeout_s=60,
        what="the count of unrouted orders",
    )
    again = await asyncio.to_thread(CliRunner().invoke, app, ["dead", "replay", order.id])
    dropped = await asyncio.to_thread(dead, "drop", order.id, "--yes")

    assert [each["reason"] for each in listed["dead_letters"] if each["id"] == order.id] == [
        "no queue took it: expected that of a worker pool"
    ]
    assert counted
    assert again.exit_code != 0
    assert "expected worker.nowhere to be there" in str(again.exception or again.output)
    assert [each["id"] for each in dropped["dropped"]] == [order.id]


@asynccontextmanager
async def everything_said(radbus, institution: str) -> AsyncIterator[list[Outgoing]]:
    """Collect all facts and orders of an institution, in the form in which they were published."""
    said: list[Outgoing] = []

    async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        told = json.loads(message.body)
        if told["institution"] == institution:
            key, exchange = message.routing_key or "", message.exchange or ""
            said.append(Outgoing(told["id"], exchange, key, told["type"], message.body.decode(), None))

    async with broker(radbus) as channel:
        listener = await channel.declare_queue(exclusive=True)
        await listener.bind(topology.EVENTS, "#")
        await listener.bind(topology.TASKS, "default")
        await listener.consume(keep, no_ack=True)
        yield said


def unchanging(books) -> dict[str, Any]:
    return {name: dict(documents) for name, documents in books.documents.items()}


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_fact_and_order_told_again_twice_and_in_another_order_changes_nothing(
    radbus, hospital, make_series, make_sleepy, balanced, seed
):
    series, last = [make_series(), make_sleepy(10)], make_sleepy(10)
    url = radbus.environment()["RADBUS_AMQP_URL"]

    async with everything_said(radbus, hospital.institution) as said:
        await asyncio.to_thread(hospital.upload, series[0].instances)
        await asyncio.to_thread(hospital.upload, series[1].instances, source="sleepy")
        before = unchanging(await balanced(series, timeout_s=DEADLINE_S))
        again = doubled(disordered(list(said), seed=seed))
        await deliver(url, again)  # while somebody listens to those facts that no service hears
    await asyncio.to_thread(hospital.upload, last.instances, source="sleepy")  # what was told again stands before it
    after = unchanging(await balanced([*series, last], timeout_s=DEADLINE_S))

    kinds = {each.type for each in again}
    assert {topology.RUN_TASK.type, topology.TASK_SUCCEEDED.type, topology.INFERENCE_COMPLETED.type} <= kinds
    changed = {
        (name, document_id)
        for name, documents in before.items()
        for document_id, document in documents.items()
        if after[name].get(document_id) != document
    }
    assert not changed


@dataclass(frozen=True)
class Deaf:
    """A service that is away while things are told to it, the queues in which they wait, and until when."""

    service: str
    queues: Sequence[Queue]
    collection: str
    until: Mapping[str, Any]


DEAF = [
    Deaf(
        "results",
        [each for each in topology.QUEUES if each.name.startswith("results.")],
        records.JOBS,
        {"state": "completed", "outbox": []},
    ),
    Deaf(
        "scheduler",
        [each for each in topology.QUEUES if each.name.startswith("scheduler.task-")],
        records.OUTCOMES,
        {"outbox": []},
    ),
]


@pytest.mark.parametrize("deaf", DEAF, ids=lambda deaf: deaf.service)
async def test_what_a_service_hears_twice_and_backwards_comes_to_the_same(
    radbus, hospital, make_sleepy, balanced, told, deaf
):
    series = make_sleepy(500)
    documents = Documents(settings_of(radbus.environment()).documents)

    async def all_told() -> Any:
        return await documents[deaf.collection].find_one({"institution": hospital.institution, **deaf.until})

    async def taken() -> Any:
        return await documents[records.LEASES].find_one({"job_id": {"$in": await job_ids()}})

    async def job_ids() -> list[str]:
        found = await documents[records.JOBS].find({"institution": hospital.institution}, limit=10)
        return [job["_id"] for job in found]

    if deaf.service == "results":
        await asyncio.to_thread(radbus.kill, deaf.service)
        await asyncio.to_thread(hospital.upload, series.instances, source="sleepy")
    else:
        await asyncio.to_thread(hospital.upload, series.instances, source="sleepy")
        await until(taken, timeout_s=DEADLINE_S, what="task that a worker has")
        await asyncio.to_thread(radbus.kill, deaf.service)
    await until(all_told, timeout_s=DEADLINE_S, what="end of what it does not hear")
    async with broker(radbus) as channel:
        for queue in deaf.queues:
            await turn_around(channel, queue, hospital.institution)
    documents.close()
    await asyncio.to_thread(radbus.start, deaf.service)
    books = await balanced([series], told=told, timeout_s=DEADLINE_S)
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=120)

    assert books.states() == {"completed": 1}


async def turn_around(channel: aio_pika.abc.AbstractChannel, queue: Queue, institution: str) -> None:
    """Put what waits in a queue back into it, twice and backwards."""
    there = await channel.get_queue(queue.name, ensure=True)
    taken: list[aio_pika.abc.AbstractIncomingMessage] = []
    while (message := await there.get(fail=False, timeout=30)) is not None:
        taken.append(message)
    for message in reversed([each for each in taken if institution.encode() in each.body]):
        copy = aio_pika.Message(message.body, content_type=message.content_type, message_id=message.message_id)
        for _ in range(2):
            await channel.default_exchange.publish(copy, queue.name, timeout=30)
    for message in taken:
        with suppress(aio_pika.exceptions.MessageProcessError):
            await message.ack()
