"""An object store that fails at some instances, at all, or slowly; and full disks, of ingest and of the store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_testing.disk import can_mount, small_disk
from radbus_testing.programs import service_running, settings_of
from radbus_testing.store_proxy import StoreProxy, store_proxied
from radbus_testing.waiting import eventually

from tests.chaos.load import Load, send

pytestmark = pytest.mark.stack

MIB = 1024 * 1024
INSTANCES = "/instances/"
SPOOL_BYTES = 4 * MIB
STORE_BYTES = 64 * MIB


@contextmanager
def own_ingest(radbus, environment, log) -> Iterator[None]:
    """Run ingest with another environment in the place of the stack's own."""
    radbus.stop("ingest")
    try:
        with service_running("ingest", environment, port=radbus.layout.port("ingest"), log=log):
            yield
    finally:
        radbus.start("ingest")
        radbus.wait_until_ready("ingest", timeout_s=60)


@pytest.fixture(scope="module")
def spool(radbus, tmp_path_factory):
    if not can_mount():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a disk of its own needs root to be mounted")
    with small_disk(tmp_path_factory.mktemp("spool"), size_bytes=SPOOL_BYTES) as disk:
        yield disk


@pytest.fixture(scope="module")
def faulty_ingest(radbus, spool, tmp_path_factory) -> Iterator[StoreProxy]:
    """An ingest whose way to the store is a proxy, and whose instances wait on a small disk."""
    with store_proxied(radbus.environment()) as (store, through):
        own = {**through, "RADBUS_QUIET_S": "6", "RADBUS_SPOOL_DIR": str(spool.folder)}
        own |= {"RADBUS_SPOOL_PART_MEMORY_BYTES": "0"}  # every instance waits in a file
        with own_ingest(radbus, own, tmp_path_factory.mktemp("ingest") / "ingest.log"):
            yield store


@pytest.fixture
def store(faulty_ingest) -> Iterator[StoreProxy]:
    yield faulty_ingest
    faulty_ingest.heal()


@pytest.fixture
def one(make_load) -> Load:
    (one,) = make_load("c")
    return one


async def post(hospital, one: Load) -> httpx2.Response:
    return await asyncio.to_thread(hospital.post_upload, one.instances)


async def recorded(hospital) -> tuple[int, list[str]]:
    """Count the recorded instances, and give the states of the series."""
    documents = Documents(settings_of(hospital.stack.environment()).documents)
    try:
        count = await documents[records.INSTANCES].count({"institution": hospital.institution})
        series = await documents[records.SERIES].find({"institution": hospital.institution}, limit=9)
        return count, [each["state"] for each in series]
    finally:
        documents.close()


async def test_a_store_that_fails_at_one_of_many_instances_is_said_of_that_one_and_makes_no_half_series(
    store, hospital, one, balanced
):
    store.refuse("PUT", INSTANCES, which=range(16, 17))

    refused = await post(hospital, one)
    half = await recorded(hospital)
    store.heal()
    whole = await post(hospital, one)
    books = await balanced([one], timeout_s=60)

    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    outcomes = [each["created"] for each in refused.json()["messages"].values()]
    assert (outcomes.count(True), outcomes.count(False)) == (len(one.instances) - 1, 1)
    assert half == (len(one.instances) - 1, ["receiving"])
    assert whole.status_code == 200
    assert books.states() == {"completed": 1}


async def test_a_store_that_answers_503_takes_nothing_and_later_all(store, hospital, one, balanced):
    store.refuse("PUT", INSTANCES)

    refused = await post(hospital, one)
    nothing = await recorded(hospital)
    tried = store.refusals
    store.heal()
    assert (await post(hospital, one)).status_code == 200
    books = await balanced([one], timeout_s=60)

    assert refused.status_code == 503
    assert nothing == (0, [])
    assert tried > len(one.instances)  # each was tried again before it was refused
    assert books.states() == {"completed": 1}


async def test_a_slow_store_makes_requests_slow_and_fails_none(store, hospital, one, balanced):
    store.slow(0.5)

    accepted = await post(hospital, one)
    store.heal()
    books = await balanced([one], timeout_s=60)

    assert accepted.status_code == 200
    assert books.states() == {"completed": 1}


async def test_an_ingest_without_room_for_what_comes_says_so_takes_nothing_and_goes_on_when_there_is_room(
    store, spool, hospital, one, balanced
):
    spool.fill()
    try:
        refused = await post(hospital, one)
    finally:
        spool.free()
    nothing = await recorded(hospital)
    accepted = await post(hospital, one)
    books = await balanced([one], timeout_s=60)

    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["message"] == "There is no room to store this now."
    assert nothing == (0, [])
    assert accepted.status_code == 200
    assert books.states() == {"completed": 1}


@pytest.fixture
def small_store(radbus):
    """The object store on a small disk, without what the store of the other tests holds."""
    if not can_mount():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a disk of its own needs root to be mounted")
    radbus.stop("s3")
    try:
        with small_disk(radbus.layout.folder("s3"), size_bytes=STORE_BYTES) as disk:
            radbus.start("s3")
            radbus.wait_until_ready(timeout_s=60)
            yield disk
            radbus.stop("s3")
    finally:
        radbus.start("s3")
        radbus.wait_until_ready(timeout_s=60)


async def test_a_store_without_room_is_said_loses_nothing_and_is_filled_when_there_is_room(
    small_store, hospital, make_load, balanced
):
    first, second = make_load("cc")
    await send(hospital, [first])
    await balanced([first], timeout_s=60)

    small_store.fill()
    refused = await asyncio.to_thread(eventually, lambda: refusal(hospital, second), timeout_s=60, what="refusal")
    small_store.free()
    await send(hospital, [second])
    books = await balanced([first, second], timeout_s=120)

    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert books.states() == {"completed": 2}


def refusal(hospital, each: Load) -> httpx2.Response | None:
    answer = hospital.post_upload(each.instances, complete=False)
    return None if answer.status_code == 200 else answer
