"""Whatever service is killed in the middle of its work, and started again: the result comes, and comes once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from radbus_contracts import topology
from radbus_testing.listening import heard, listen
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

MOMENTS = [
    ("router", topology.SERIES_COMPLETED),
    ("scheduler", topology.JOB_REQUESTED),
    ("scheduler", topology.TASK_STARTED),
    ("scheduler", topology.TASK_SUCCEEDED),
    ("worker-0", topology.TASK_STARTED),
    ("results", topology.JOB_COMPLETED),
]


@asynccontextmanager
async def inferences_told(hospital) -> AsyncIterator[list[str]]:
    """Collect the ids of the inferences that subscribers hear of."""
    told: list[str] = []
    listening = asyncio.Event()

    async def collect() -> None:
        url = hospital.stack.environment()["RADBUS_AMQP_URL"]
        async for event in listen(url, "inference.#", listening=listening.set):
            if event["institution"] == hospital.institution:
                told.append(event["id"])  # noqa: PERF401 - to be seen while it grows

    collecting = asyncio.create_task(collect())
    await listening.wait()
    yield told
    collecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await collecting


async def assert_one_result(hospital, series, told: list[str]) -> None:
    answer = await asyncio.to_thread(hospital.result, series.uid, timeout_s=90)

    async def heard_of_it() -> list[str] | None:
        return told or None

    assert answer.status_code == 200, answer.text
    assert [job["state"] for job in hospital.jobs()] == ["completed"]
    assert len(hospital.get("/inferences", series=series.uid).json()) == 1
    await until(heard_of_it, timeout_s=20, what="event of the inference")
    assert len(set(told)) == 1  # the same one may be told twice


@pytest.mark.parametrize(("victim", "moment"), MOMENTS, ids=lambda part: getattr(part, "routing_key", part))
async def test_a_service_killed_in_the_middle_of_its_work_loses_and_doubles_nothing(
    radbus, hospital, make_series, victim, moment
):
    series = make_series()
    if victim.startswith("worker"):
        radbus.stop("worker-1")  # so that it is this one which has the task
    listening = asyncio.Event()
    url = radbus.environment()["RADBUS_AMQP_URL"]

    def ours(event: Mapping[str, Any]) -> bool:
        return event["institution"] == hospital.institution

    async with inferences_told(hospital) as told:
        hearing = asyncio.create_task(heard(url, moment.routing_key, ours, listening=listening.set))
        await listening.wait()
        with ThreadPoolExecutor(1) as threads:
            upload = threads.submit(hospital.upload, series.instances)
            await asyncio.wait_for(hearing, 30)
            radbus.kill(victim)
            await asyncio.wrap_future(upload)
        radbus.start(victim)
        if victim.startswith("worker"):
            radbus.start("worker-1")
        await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)

        await assert_one_result(hospital, series, told)


async def test_an_ingest_killed_after_its_answer_completes_the_series_once_it_is_back(radbus, hospital, make_series):
    series = make_series()

    async with inferences_told(hospital) as told:
        await asyncio.to_thread(hospital.upload, series.instances, complete=False)
        radbus.kill("ingest")
        radbus.start("ingest")
        await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)

        await assert_one_result(hospital, series, told)


async def test_what_is_sent_again_after_an_ingest_was_killed_within_a_request_is_there_once(
    radbus, hospital, make_series
):
    series = make_series()

    def half_a_body() -> Iterator[bytes]:
        for number, instance in enumerate(series.instances):
            if number == len(series.instances) // 2:
                radbus.kill("ingest")
            yield b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n' % number
            yield instance
            yield b"\r\n"
        yield b"--b--\r\n"

    async with inferences_told(hospital) as told:
        headers = {**hospital.headers, "Content-Type": "multipart/form-data; boundary=b"}
        cut = await asyncio.to_thread(
            httpx2.post, hospital.url("/upload"), headers=headers, content=half_a_body(), timeout=60
        )
        assert (cut.status_code, cut.headers["retry-after"]) == (503, "5")
        radbus.start("ingest")
        await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)
        await asyncio.to_thread(hospital.upload, series.instances)

        await assert_one_result(hospital, series, told)
        (job,) = hospital.jobs()
        assert job["revision"] == 1
