"""More than can be taken: clients are told when to come again, those who do get everything in, and all of it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx2
import pytest
from radbus_testing.programs import service_running
from radbus_testing.waiting import eventually

from tests.chaos.flood import Flood
from tests.chaos.test_connections import counted

pytestmark = pytest.mark.stack

TASKS_LIMIT = 2
LIMITS = {
    "RADBUS_TASKS_WAITING_LIMIT": str(TASKS_LIMIT),
    "RADBUS_ADMISSION_EVERY_S": "0.1",
    "RADBUS_ADMISSION_WAIT_S": "0.1",
    "RADBUS_REQUESTS_LIMIT": "2",
    "RADBUS_IN_FLIGHT_LIMIT_BYTES": "100000",
    "RADBUS_RETRY_AFTER_LEAST_S": "1",
    "RADBUS_WHOLE_SERIES_SOURCES": "*",
}
FILLING, FLOODING, CLIENTS = 6, 12, 8
DEADLINE_S = 60


@pytest.fixture
def narrow(radbus, tmp_path) -> Iterator[str]:
    """An ingest that takes little at a time, in the place of the stack's own."""
    radbus.stop("ingest")
    environment, port = {**radbus.environment(), **LIMITS}, radbus.layout.port("ingest")
    with service_running("ingest", environment, port=port, log=tmp_path / "ingest.log") as url:
        yield url
    radbus.start("ingest")
    radbus.wait_until_ready(timeout_s=60)


async def test_a_flood_is_refused_with_retry_after_and_all_of_it_gets_in_and_ends(
    narrow, hospital, hospitals, make_sleepy, balanced
):
    headers = {**hospital.headers, "Source": "sleepy"}
    flood = Flood(hospital.url(""), headers, until=time.monotonic() + DEADLINE_S)
    filling = [make_sleepy(1000) for _ in range(FILLING)]
    flooding = [make_sleepy(10) for _ in range(FLOODING)]
    other = hospitals()

    await asyncio.to_thread(flood.pour, [each.instances for each in filling], clients=CLIENTS)
    refusing = 'radbus_admission_refusing{because="tasks"}'
    await asyncio.to_thread(eventually, lambda: counted(narrow, refusing) == 1, timeout_s=20, what="closed door")
    ready = await asyncio.to_thread(httpx2.get, f"{narrow}/readyz")
    beside = await asyncio.to_thread(other.post_upload, make_sleepy(10).instances)
    await asyncio.to_thread(flood.pour, [each.instances for each in flooding], clients=CLIENTS)

    books = await balanced([*filling, *flooding], timeout_s=DEADLINE_S)
    assert set(flood.statuses) == {200, 503}
    assert flood.statuses[200] == FILLING + FLOODING
    assert all(told.retry_after_s for told in flood.told if told.status == 503)
    assert (ready.status_code, "tasks" in ready.json()["notes"]["admission"]) == (200, True)
    assert beside.status_code == 200
    assert books.states() == {"completed": FILLING + FLOODING}
    open_again = await asyncio.to_thread(counted, narrow, refusing)
    assert open_again == 0
