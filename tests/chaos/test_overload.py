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

LIMITS = {
    "RADBUS_TASKS_WAITING_LIMIT": "2",
    "RADBUS_ADMISSION_EVERY_S": "0.1",
    "RADBUS_ADMISSION_WAIT_S": "0.1",
    "RADBUS_REQUESTS_LIMIT": "2",
    "RADBUS_RETRY_AFTER_LEAST_S": "1",
    "RADBUS_WHOLE_SERIES_SOURCES": "*",
}
WAITING, WAITING_MS = 10, 3000
FLOODING, CLIENTS = 12, 8
DEADLINE_S = 120
REFUSING = 'radbus_admission_refusing{because="tasks"}'


@pytest.fixture
def narrow(radbus, tmp_path) -> Iterator[str]:
    """One more ingest beside the stack's own, which takes little at a time."""
    port = radbus.layout.port("worker-8")
    with service_running("ingest", {**radbus.environment(), **LIMITS}, port=port, log=tmp_path / "ingest.log") as url:
        yield url


def test_a_flood_is_refused_with_retry_after_and_all_of_it_gets_in_and_ends(
    narrow, hospitals, make_sleepy, balanced, hospital
):
    waiting = [make_sleepy(WAITING_MS) for _ in range(WAITING)]
    flooding = [make_sleepy(10) for _ in range(FLOODING)]
    other, of_other = hospitals(), make_sleepy(10)
    for each in waiting:
        hospital.upload(each.instances, source="sleepy")
    eventually(lambda: counted(narrow, REFUSING) == 1, timeout_s=20, what="closed door")

    flood = Flood(narrow, {**hospital.headers, "Source": "sleepy"}, until=time.monotonic() + DEADLINE_S)
    beside = Flood(narrow, other.headers, until=time.monotonic() + DEADLINE_S)
    ready = httpx2.get(f"{narrow}/readyz", timeout=10)
    beside.pour([of_other.instances], clients=1)
    flood.pour([each.instances for each in flooding], clients=CLIENTS)

    books = asyncio.run(balanced([*waiting, *flooding], timeout_s=DEADLINE_S))
    assert set(flood.statuses) == {200, 503}
    assert flood.statuses[200] == FLOODING
    assert all(told.retry_after_s for told in flood.told if told.status == 503)
    assert set(beside.statuses) == {200}
    assert (ready.status_code, "tasks" in ready.json()["notes"]["admission"]) == (200, True)
    assert books.states() == {"completed": WAITING + FLOODING}
    eventually(lambda: counted(narrow, REFUSING) == 0, timeout_s=20, what="open door")
