"""What the tests of faults share: a subscriber that hears everything, and the count at the end."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import pydicom
import pytest
from radbus_storage import records
from radbus_testing.listening import listen

from tests.chaos.books import Accepted, Books
from tests.chaos.ledger import settle
from tests.chaos.load import Load

LISTENING_S = 30


@pytest.fixture
async def told(hospital) -> AsyncIterator[list[Mapping[str, Any]]]:
    """What a subscriber hears of this hospital, from now on."""
    heard: list[Mapping[str, Any]] = []
    listening = asyncio.Event()

    async def collect() -> None:
        url = hospital.stack.environment()["RADBUS_AMQP_URL"]
        async for event in listen(url, "#", listening=listening.set):
            if event["institution"] == hospital.institution:
                heard.append(event)  # noqa: PERF401 - to be seen while it grows

    collecting = asyncio.create_task(collect())
    await asyncio.wait_for(listening.wait(), LISTENING_S)
    yield heard
    collecting.cancel()
    with suppress(asyncio.CancelledError):
        await collecting


@pytest.fixture
def balanced(request, hospital) -> Callable[..., Awaitable[Books]]:
    """Wait until everything accepted of some series has ended, once; `told` where nothing may be untold, either.

    It prints how long that took since the test began, and what was done more than once for it.
    """
    began = time.monotonic()

    async def balance(series: Iterable[Any], **options: Any) -> Books:
        accepted = Accepted(instances_of(each for one in series for each in one.instances))
        books = await settle(hospital.stack.environment(), hospital.institution, accepted, **options)
        tasks = [task["attempt"] for job in books[records.JOBS].values() for task in job["tasks"]]
        ids = Counter(event["id"] for event in options.get("told") or ())
        print(  # noqa: T201 - for docs/reliability.md
            f"\nmeasured: {request.node.name}: {books.states()} after {time.monotonic() - began:.1f} s,"
            f" {sum(tasks)} attempts at {len(tasks)} tasks,"
            f" {sum(count > 1 for count in ids.values())} of {len(ids)} events heard more than once"
        )
        return books

    return balance


@pytest.fixture
def make_load(make_series, make_sleepy) -> Callable[[str], list[Load]]:
    """Make series of these kinds: `c` a chest, `s` one that keeps a worker for a second, `q` one that is quick."""

    def make(kinds: str) -> list[Load]:
        sleeps_ms = {"s": 1000, "q": 10}

        def load(kind: str) -> Load:
            if kind == "c":
                each, source = make_series(), None
            else:
                each, source = make_sleepy(sleeps_ms[kind]), "sleepy"
            return Load(each.uid, each.instances, source)

        return [load(kind) for kind in kinds]

    return make


def instances_of(instances: Iterable[bytes]) -> dict[str, int]:
    """Return the sizes of instances by SOPInstanceUID."""
    read = ((pydicom.dcmread(io.BytesIO(each), specific_tags=["SOPInstanceUID"]), len(each)) for each in instances)
    return {str(ds.SOPInstanceUID): size_bytes for ds, size_bytes in read}
