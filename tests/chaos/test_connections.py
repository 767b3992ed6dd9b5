"""Connections cut or frozen at the worst place: what was accepted ends, each once, and nothing else is there.

One ingest, one router and one scheduler run behind proxies to their servers, in the places of the stack's own.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager

import httpx2
import pytest
from radbus_contracts.topology import EVENTS, JOB_REQUESTED, SCHEDULER_JOB_REQUESTED, SERIES_COMPLETED
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_testing.programs import service_running, settings_of
from radbus_testing.proxy import Proxy, proxied
from radbus_testing.tripwire import AMQP_CONFIRM, Passing, Way, amqp_publish, mongo_command
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

DEADLINE_S = 40
ACCEPTED = 3
SERVERS = {
    "ingest": {"broker": "RADBUS_AMQP_URL", "database": "RADBUS_MONGO_URL", "objects": "RADBUS_S3_URL"},
    "router": {"broker": "RADBUS_AMQP_URL", "database": "RADBUS_MONGO_URL"},
    "scheduler": {"broker": "RADBUS_AMQP_URL", "database": "RADBUS_MONGO_URL"},
}

SLOW_BYTES_PER_S = 50_000
FAULTS = {
    "slow": lambda line: line.throttle(SLOW_BYTES_PER_S),
    "ended to the server": lambda line: line.half_close(Way.TO_SERVER),
    "ended to the service": lambda line: line.half_close(Way.TO_CLIENT),
}


@pytest.fixture(scope="module")
def all_lines(radbus, tmp_path_factory) -> Iterator[Mapping[tuple[str, str], Proxy]]:
    """The proxies, by service and server."""
    folder = tmp_path_factory.mktemp("connections")
    lines: dict[tuple[str, str], Proxy] = {}
    with ExitStack() as opened:
        for service, servers in SERVERS.items():
            radbus.stop(service)
            opened.callback(radbus.start, service)
            environment = radbus.environment()
            for server, variable in servers.items():
                lines[service, server], environment = opened.enter_context(proxied(environment, variable))
            port, log = radbus.layout.port(service), folder / f"{service}.log"
            opened.enter_context(service_running(service, environment, port=port, log=log))
        yield lines
    radbus.wait_until_ready(timeout_s=60)


@pytest.fixture
def lines(all_lines) -> Iterator[Mapping[tuple[str, str], Proxy]]:
    yield all_lines
    for line in all_lines.values():
        line.heal()


@pytest.fixture
def series(make_sleepy) -> list:
    return [make_sleepy(10) for _ in range(ACCEPTED)]


@asynccontextmanager
async def documents_of(hospital) -> AsyncIterator[Documents]:
    documents = Documents(settings_of(hospital.stack.environment()).documents)
    yield documents
    documents.close()


def send(hospital, each) -> int:
    return hospital.post_upload(each.instances, source="sleepy").status_code


async def accept(hospital, series) -> None:
    assert [await asyncio.to_thread(send, hospital, each) for each in series] == [200] * len(series)


async def assert_judged_once(hospital, series, books) -> None:
    answers = [await asyncio.to_thread(hospital.results, each.uid) for each in series]

    assert {answer.status_code for answer in answers} == {206}  # the sleeping machine finds too little to measure
    assert books.states() == {"completed": len(series)}
    assert books.keys == frozenset(books.objects)  # nothing is stored that no record names


def counted(url: str, metric: str) -> float:
    """Return the value of a counter of a service, 0 before it was counted for the first time."""
    found = re.search(rf"^{re.escape(metric)} (\S+)$", httpx2.get(f"{url}/metrics", timeout=10).text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def grown(url: str, metric: str, *, beyond: float) -> None:
    async def more() -> bool | None:
        return await asyncio.to_thread(counted, url, metric) > beyond or None

    await until(more, timeout_s=DEADLINE_S, what=metric)


async def struck(fault) -> None:
    await asyncio.wait_for(asyncio.wrap_future(fault), DEADLINE_S)


async def test_no_series_is_lost_when_the_broker_is_cut_off_between_its_record_and_its_publish(
    lines, hospital, series, told, balanced
):
    line = lines["ingest", "broker"]
    cut = line.cut_when(Passing(Way.TO_SERVER, amqp_publish(EVENTS, SERIES_COMPLETED.routing_key)))

    await accept(hospital, series)
    await struck(cut)
    async with documents_of(hospital) as documents:

        async def all_waiting() -> bool | None:
            where = {"institution": hospital.institution, "state": "complete", "outbox.0": {"$exists": True}}
            return await documents[records.SERIES].count(where) == len(series) or None

        await until(all_waiting, timeout_s=DEADLINE_S, what="completed series with an untold fact")
    assert not [event for event in told if event["type"] == SERIES_COMPLETED.type]
    line.restore()

    await assert_judged_once(hospital, series, await balanced(series, told=told, timeout_s=DEADLINE_S))


async def test_a_job_asked_for_twice_since_its_confirm_was_cut_off_is_done_once(
    lines, hospital, series, told, balanced
):
    line = lines["router", "broker"]
    cut = line.cut_when(
        Passing(Way.TO_SERVER, amqp_publish(EVENTS, JOB_REQUESTED.routing_key)), Passing(Way.TO_CLIENT, AMQP_CONFIRM)
    )

    await accept(hospital, series)
    await struck(cut)
    line.restore()

    async def asked_twice() -> bool | None:
        asked = Counter(event["id"] for event in told if event["type"] == JOB_REQUESTED.type)
        return (len(asked) == len(series) and max(asked.values()) > 1) or None

    await until(asked_twice, timeout_s=DEADLINE_S, what="job that was asked for twice")
    await assert_judged_once(hospital, series, await balanced(series, told=told, timeout_s=DEADLINE_S))


async def test_a_job_whose_record_was_written_without_an_answer_is_done_once(lines, hospital, series, told, balanced):
    line, url = lines["scheduler", "database"], hospital.stack.url("scheduler")
    done, put_off = (
        f'radbus_messages_settled_total{{outcome="{outcome}",queue="{SCHEDULER_JOB_REQUESTED.name}"}}'
        for outcome in ("done", "retried")
    )
    done_before, put_off_before = [await asyncio.to_thread(counted, url, each) for each in (done, put_off)]
    cut = line.cut_when(Passing(Way.TO_SERVER, mongo_command("insert", records.JOBS)), Passing(Way.TO_CLIENT))

    await accept(hospital, series)
    await struck(cut)
    async with documents_of(hospital) as documents:
        assert await documents[records.JOBS].count({"institution": hospital.institution}) >= 1
    await grown(url, put_off, beyond=put_off_before)
    line.restore()

    await grown(url, done, beyond=done_before + len(series) - 1)
    await assert_judged_once(hospital, series, await balanced(series, told=told, timeout_s=DEADLINE_S))


async def test_an_instance_whose_record_was_written_without_an_answer_is_there_once(
    lines, hospital, series, told, balanced
):
    line = lines["ingest", "database"]
    reset = line.reset_when(Passing(Way.TO_SERVER, mongo_command("insert", records.INSTANCES)), Passing(Way.TO_CLIENT))

    await accept(hospital, series)
    await struck(reset)

    await assert_judged_once(hospital, series, await balanced(series, told=told, timeout_s=DEADLINE_S))


async def test_what_was_cut_off_in_the_middle_of_an_object_is_not_accepted_and_sent_again_is_there_once(
    lines, hospital, series, told, balanced
):
    line = lines["ingest", "objects"]
    cut = line.cut_when(
        Passing(Way.TO_SERVER, f"PUT /radbus/{hospital.institution}/".encode()),
        Passing(Way.TO_SERVER, b"\r\n\r\n", after_bytes=1000),
    )

    refused = await asyncio.to_thread(hospital.post_upload, series[0].instances, source="sleepy")
    await struck(cut)
    async with documents_of(hospital) as documents:
        recorded = await documents[records.INSTANCES].count({"institution": hospital.institution})
    line.restore()
    await accept(hospital, series)

    assert refused.status_code >= 500
    assert recorded == 0
    await assert_judged_once(hospital, series, await balanced(series, told=told, timeout_s=DEADLINE_S))


async def test_series_accepted_while_the_broker_is_frozen_are_done_once_it_goes_on(
    lines, hospital, series, told, balanced
):
    line, url = lines["ingest", "broker"], hospital.stack.url("ingest")
    unconfirmed = f'radbus_publish_failures_total{{exchange="{EVENTS}"}}'
    before = await asyncio.to_thread(counted, url, unconfirmed)
    line.pause()

    await accept(hospital, series)
    await grown(url, unconfirmed, beyond=before + len(series))  # those that wait, and are told again
    assert not told
    line.resume()

    await assert_judged_once(hospital, series, await balanced(series, told=told, timeout_s=DEADLINE_S))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("server", SERVERS["ingest"])
async def test_series_accepted_over_a_line_that_is_slow_or_half_closed_are_done_once(
    lines, hospital, series, told, balanced, server, fault
):
    FAULTS[fault](lines["ingest", server])

    await accept(hospital, series)

    await assert_judged_once(hospital, series, await balanced(series, told=told, timeout_s=DEADLINE_S))
