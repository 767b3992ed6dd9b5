"""Workers killed, frozen and cut off in the middle of a task: another does it, once, and the rest goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_testing.programs import service_running, settings_of
from radbus_testing.proxy import Proxy, proxied
from radbus_testing.tripwire import Passing, Way
from radbus_testing.waiting import eventually, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

log = logging.getLogger(__name__)

DEADLINE_S = 240
SLOW_BYTES_PER_S = 50_000
SERVERS = {"broker": "RADBUS_AMQP_URL", "database": "RADBUS_MONGO_URL", "objects": "RADBUS_S3_URL"}


@asynccontextmanager
async def documents_of(hospital) -> AsyncIterator[Documents]:
    documents = Documents(settings_of(hospital.stack.environment()).documents)
    yield documents
    documents.close()


async def running(hospital, documents: Documents, *, attempt: int = 1) -> Mapping[str, Any]:
    """Wait for the lease of an attempt at this hospital's one task."""

    async def leased() -> Mapping[str, Any] | None:
        job = await documents[records.JOBS].find_one({"institution": hospital.institution})
        if job is None:
            return None
        return await documents[records.LEASES].find_one({"job_id": job["_id"], "attempt": {"$gte": attempt}})

    return await until(leased, timeout_s=DEADLINE_S, what=f"lease of attempt {attempt}")


def holder(radbus, lease: Mapping[str, Any]) -> str:
    """Tell which of the stack's programs holds a lease: it has said its name in its log."""
    name = f'"worker": "{lease["worker"]}"'
    (program,) = (
        each
        for each in ("worker-0", "worker-1")
        if any("worker.announced" in line and name in line for line in radbus.logs(each, lines=10_000))
    )
    return program


def given_up(radbus, job_id: str) -> list[str]:
    """Tell why attempts at a job's tasks were given up, as the scheduler says in its log."""
    programs = radbus.replicas_of("scheduler")
    lines = [json.loads(line) for each in programs for line in radbus.logs(each, lines=10_000) if job_id in line]
    return [line["why"] for line in lines if line["event"] == "attempt.given_up"]


async def test_the_task_of_a_killed_worker_is_done_by_another_and_the_time_that_takes_is_told(
    radbus, hospital, make_sleepy, balanced, told, record_property
):
    series = make_sleepy(5000)

    async with documents_of(hospital) as documents:
        await asyncio.to_thread(hospital.upload, series.instances, source="sleepy")
        lease = await running(hospital, documents)
        victim = await asyncio.to_thread(holder, radbus, lease)
        await asyncio.to_thread(radbus.kill, victim)
        killed_at = time.monotonic()
        second = await running(hospital, documents, attempt=2)
        failover_s = time.monotonic() - killed_at
    record_property("failover_s", round(failover_s, 1))
    log.warning("failover of a killed worker: %.1f s", failover_s)
    books = await balanced([series], told=told, timeout_s=DEADLINE_S)
    radbus.start(victim)
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=120)

    assert second["worker"] != lease["worker"]
    assert [job["tasks"][0]["attempt"] for job in books[records.JOBS].values()] == [2]
    assert len(books[records.INFERENCES]) == 1
    # Long before the task's own time was over: its lease was not renewed.
    assert given_up(radbus, lease["job_id"]) == ["its worker was lost"]


async def test_the_late_outcome_of_a_worker_that_was_frozen_is_not_used(
    radbus, hospital, make_sleepy, balanced, told, record_property
):
    series = make_sleepy(3000)

    async with documents_of(hospital) as documents:
        await asyncio.to_thread(hospital.upload, series.instances, source="sleepy")
        lease = await running(hospital, documents)
        frozen = await asyncio.to_thread(holder, radbus, lease)
        await asyncio.to_thread(radbus.kill, frozen, signal.SIGSTOP)
        frozen_at = time.monotonic()
        try:
            await running(hospital, documents, attempt=2)
            failover_s = time.monotonic() - frozen_at
            await balanced([series], told=told, timeout_s=DEADLINE_S)
        finally:
            await asyncio.to_thread(radbus.kill, frozen, signal.SIGCONT)
        # It has ended once its slot is free again: it says so, in whichever way.
        await asyncio.to_thread(eventually, lambda: has_ended(radbus, frozen, lease), timeout_s=60, what="its end")
    record_property("failover_s", round(failover_s, 1))
    log.warning("failover of a frozen worker: %.1f s", failover_s)
    books = await balanced([series], told=told, timeout_s=DEADLINE_S)
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=120)

    (job,) = books[records.JOBS].values()
    (inference,) = books[records.INFERENCES].values()
    assert job["tasks"][0]["attempt"] == 2
    assert job["tasks"][0]["outcome_id"].endswith("/2")
    assert inference["job_id"] == job["_id"]


def has_ended(radbus, name: str, lease: Mapping[str, Any]) -> bool:
    job_id = f'"job_id": "{lease["job_id"]}"'
    return any("attempt.ended" in line and job_id in line for line in radbus.logs(name, lines=2000))


@pytest.fixture(scope="module")
def all_lines(radbus, tmp_path_factory) -> Iterator[Mapping[str, Proxy]]:
    """One worker behind a proxy to each of its servers, in the place of the stack's own."""
    names = ("worker-0", "worker-1")
    with ExitStack() as opened:
        for name in names:
            radbus.stop(name)
            opened.callback(radbus.start, name)
        environment = radbus.environment()
        lines: dict[str, Proxy] = {}
        for server, variable in SERVERS.items():
            lines[server], environment = opened.enter_context(proxied(environment, variable))
        triton = urlsplit(f"grpc://{environment['RADBUS_TRITON_URL']}")
        lines["triton"] = opened.enter_context(Proxy(triton.hostname or "", triton.port or 0))
        environment["RADBUS_TRITON_URL"] = f"127.0.0.1:{lines['triton'].port}"
        log = tmp_path_factory.mktemp("workers") / "worker.log"
        opened.enter_context(service_running("worker", environment, port=radbus.layout.port("worker-9"), log=log))
        yield lines
        for line in lines.values():
            line.heal()
    radbus.wait_until_ready(timeout_s=120)


@pytest.fixture
def lines(all_lines) -> Iterator[Mapping[str, Proxy]]:
    yield all_lines
    for line in all_lines.values():
        line.heal()


def at_once(act: Callable[[], None]) -> Future[None]:
    """Do something now, where others wait for a place in the bytes."""
    act()
    struck: Future[None] = Future()
    struck.set_result(None)
    return struck


# By the server, and what else is to be told of it.
CUTS: dict[str, Callable[[Proxy, str], Future[None]]] = {
    "broker": lambda line, _: line.cut_when(Passing(Way.TO_SERVER)),
    "broker, half-closed": lambda line, _: at_once(lambda: line.half_close(Way.TO_CLIENT)),
    "database": lambda line, _: line.cut_when(Passing(Way.TO_SERVER, b"leases")),
    "database, slow": lambda line, _: at_once(lambda: line.throttle(SLOW_BYTES_PER_S)),
    "objects": lambda line, institution: line.cut_when(
        Passing(Way.TO_SERVER, f"GET /radbus/{institution}/".encode()), Passing(Way.TO_CLIENT, b"\r\n\r\n", 100)
    ),
    "objects, outputs": lambda line, institution: line.cut_when(
        Passing(Way.TO_SERVER, f"PUT /radbus/{institution}/derived/".encode()), Passing(Way.TO_SERVER, b"\r\n\r\n", 10)
    ),
    "triton": lambda line, _: line.cut_when(Passing(Way.TO_CLIENT)),  # the answer to the inference, or to the canary
    "triton, half-closed": lambda line, _: at_once(lambda: line.half_close(Way.TO_CLIENT)),
}


@pytest.mark.parametrize("cut", CUTS)
async def test_a_worker_that_is_cut_off_a_server_in_the_middle_of_a_task_does_it_once_when_that_is_back(
    lines, hospital, make_sleepy, make_series, balanced, told, cut
):
    server = cut.partition(",")[0]
    line = lines[server]
    series = [make_sleepy(4000), make_sleepy(10)]

    async def inferring() -> bool | None:
        return any("task.progressed" in event["type"] and event["data"]["progress"] >= 0.25 for event in told) or None

    async with documents_of(hospital) as documents:
        if server == "objects":  # at a place in its bytes, else while the model works
            struck = CUTS[cut](line, hospital.institution)
        for each in series:
            await asyncio.to_thread(hospital.upload, each.instances, source="sleepy")
        await running(hospital, documents)
        if server != "objects":
            await until(inferring, timeout_s=DEADLINE_S, what="inference")
            struck = CUTS[cut](line, hospital.institution)
        await asyncio.wait_for(asyncio.wrap_future(struck), DEADLINE_S)
        line.restore()
    books = await balanced(series, told=told, timeout_s=DEADLINE_S)

    assert books.states() == {"completed": 2}
    assert len(books[records.INFERENCES]) == 2
