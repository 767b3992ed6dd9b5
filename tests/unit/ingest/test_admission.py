"""Who is let in when there is too much: slowed down first, then refused in the words of the contract."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import structlog
from radbus_ingest.adapters.resources import Disk
from radbus_ingest.domain.watermarks import Concern, Level, over_their_share, retry_after_s
from radbus_ingest.handlers.places import Places
from radbus_ingest.handlers.watching import Senses

FORM = "multipart/form-data; boundary=b"
RELATED = 'multipart/related; type="application/dicom"; boundary=b'
START = "/v1/model/start/PassThroughModel:1729"

TOO_MUCH = {
    Concern.DISK: lambda admission: setattr(admission.machine, "disk", Disk(100_000, 900)),
    Concern.OUTBOX: lambda admission: setattr(admission.backlog, "records", 11),
    Concern.TASKS: lambda admission: admission.backlog.tasks.update(hospital=10),
    Concern.STORE: lambda admission: admission.watch.store_is_full(),
}


def test_what_was_refused_at_the_limit_is_taken_again_only_well_below_it():
    loads = [0.9, 1.0, 0.9, 0.81, 0.8, 0.9]

    level, seen = Level(take_again_load=0.8), []
    for load in loads:
        level = level.at(load)
        seen.append(level.is_over)

    assert seen == [False, True, True, True, False, False]


def test_only_who_has_an_equal_share_of_the_places_or_more_is_over_it():
    flood, few = {"flood": 90, "other": 3}, {"flood": 90}

    assert over_their_share(flood, 80) == {"flood": 90 / 40}
    assert over_their_share(few, 80) == {"flood": 90 / 80}
    assert over_their_share({}, 80) == {}


def test_the_time_to_wait_grows_with_the_load_within_bounds_and_differs():
    calm = [retry_after_s(0.2, least_s=5, chance=chance / 10) for chance in range(11)]
    grown = [retry_after_s(load, least_s=5, chance=0) for load in (1, 1.5, 2, 3, 100)]

    assert (min(calm), max(calm), len(set(calm))) == (5, 8, 4)
    assert grown == sorted(grown)
    assert (grown[0], grown[-1]) == (5, 120)


@pytest.mark.parametrize("concern", TOO_MUCH)
@pytest.mark.parametrize(("path", "content_type"), [("/upload", FORM), ("/studies", RELATED), (START, "")])
async def test_too_much_is_503_in_the_words_of_the_contract_before_the_body_is_read(
    path, content_type, concern, ingest, make_instance, multipart
):
    TOO_MUCH[concern](ingest.admission)
    await ingest.admission.watch.measure_once()

    answer = await ingest.post(path, multipart(("a", make_instance(1))), content_type, secret="right")

    words = {"/upload": {"message", "messages", "status"}, "/studies": {"error"}}
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 5
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == words.get(path, {"code", "detail", "status", "title"})
    assert not answer.is_body_read
    assert ingest.stores.objects == {}


async def test_one_institutions_flood_closes_no_others_door(ingest, make_instance, multipart):
    ingest.admission.backlog.tasks = {"flood": 40, "hospital": 2}
    await ingest.admission.watch.measure_once()

    answer = await ingest.post("/upload", multipart(("a", make_instance(1))), FORM)

    assert answer.status == 200
    assert ingest.admission.watch.load_of_tasks("flood") is not None


async def test_an_urgent_source_is_let_in_however_many_tasks_wait(ingest, make_instance, multipart):
    ingest.admission.backlog.tasks = {"hospital": 1000}
    await ingest.admission.watch.measure_once()
    body = multipart(("a", make_instance(1)))

    statuses = {name: (await ingest.post("/upload", body, FORM, source=name)).status for name in ("allowed", "stroke")}

    assert statuses == {"allowed": 503, "stroke": 200}


async def test_who_was_refused_for_tasks_is_let_in_when_enough_of_them_are_done_and_not_before(ingest):
    watch, seen = ingest.admission.watch, []

    for waiting in (9, 10, 9, 8, 9):
        ingest.admission.backlog.tasks = {"hospital": waiting}
        await watch.measure_once()
        seen.append(watch.load_of_tasks("hospital") is not None)

    assert seen == [False, True, True, False, False]


async def test_a_change_is_logged_once_and_noted_at_readyz(ingest, make_instance, multipart):
    watch, machine = ingest.admission.watch, ingest.admission.machine
    with structlog.testing.capture_logs() as logs:
        machine.disk = replace(machine.disk, free_bytes=10)
        for _ in range(3):
            await watch.measure_once()
            await ingest.post("/upload", multipart(("a", make_instance(1))), FORM)
        said = await watch.describe()
        machine.disk = replace(machine.disk, free_bytes=50_000)
        await watch.measure_once()

    assert Counter(log["event"] for log in logs) == {"admission.closed": 1, "admission.opened": 1}
    assert {log["because"] for log in logs} == {"disk"}
    assert "disk" in said
    assert await watch.describe() is None


async def test_a_small_disk_is_not_refused_for_its_size(ingest):
    ingest.admission.machine.disk = Disk(size_bytes=5_000, free_bytes=900)

    await ingest.admission.watch.measure_once()

    assert ingest.admission.watch.load_of(Concern.DISK) is None


async def test_a_store_that_says_that_it_is_full_is_not_sent_more_for_a_time(ingest, make_instance, multipart):
    body = multipart(("a", make_instance(1)))
    ingest.stores.is_full = True

    told = await ingest.post("/upload", body, FORM)
    refused = await ingest.post("/upload", body, FORM)

    assert (told.status, refused.status) == (503, 503)
    assert (told.is_body_read, refused.is_body_read) == (True, False)


async def test_while_the_backlog_cannot_be_counted_the_last_count_holds(ingest):
    watch, backlog = ingest.admission.watch, ingest.admission.backlog
    backlog.tasks = {"hospital": 20}
    await watch.measure_once()

    backlog.is_away = True
    await watch.measure_once()

    assert watch.load_of_tasks("hospital") is not None


async def test_with_too_little_memory_one_request_at_a_time_still_gets_in(make_ingest, make_instance, multipart):
    ingest = make_ingest()
    ingest.admission.machine.used_memory_bytes = 2_000
    await ingest.admission.watch.measure_once()
    body = multipart(("a", make_instance(1)))

    inside = asyncio.create_task(ingest.post("/upload", body, FORM, stall=True))
    await ingest.stalled.wait()
    beside = await ingest.post("/upload", body, FORM)
    inside.cancel()
    await asyncio.wait([inside])
    alone = await ingest.post("/upload", body, FORM)

    assert (beside.status, alone.status) == (503, 200)


async def test_a_request_waits_for_a_place_before_it_is_refused(make_ingest, make_instance, multipart):
    ingest = make_ingest(requests=1)
    body = multipart(("a", make_instance(1)))

    together = await asyncio.gather(*(ingest.post("/upload", body, FORM) for _ in range(2)))

    assert [answer.status for answer in together] == [200, 200]


@pytest.mark.parametrize("path", ["/upload", "/studies", START])
async def test_a_body_for_which_there_is_no_room_is_503_and_leaves_nothing_behind(
    path, make_ingest, make_instance, multipart
):
    ingest = make_ingest(waiting_bytes=1000)
    ingest.room.take(2000)  # by others

    answer = await ingest.post(path, multipart(("a", make_instance(1))), RELATED, secret="right")

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 5
    assert ingest.room.used_bytes == 2000


async def test_a_body_goes_on_when_there_is_room_again(make_ingest, make_instance, multipart):
    ingest = make_ingest(waiting_bytes=1000)
    ingest.room.take(2000)
    sent = asyncio.create_task(ingest.post("/upload", multipart(("a", make_instance(1))), FORM))
    await asyncio.sleep(0)

    ingest.room.give_back(used_bytes=2000, memory_bytes=0)

    assert (await sent).status == 200


async def test_one_institution_that_holds_all_the_places_it_may_leaves_some_to_the_others():
    places, held = Places(4), AsyncExitStack()
    for _ in range(3):
        await held.enter_async_context(places.taken("flood"))
    waiting = asyncio.create_task(held.enter_async_context(places.taken("flood")))
    await asyncio.sleep(0)

    async with places.taken("other"):
        has_waited = not waiting.done()
    await held.aclose()
    await waiting

    assert has_waited
    assert places.load == 1 / 4


async def test_a_request_that_gave_up_waiting_for_a_place_has_none():
    places = Places(1)
    async with places.taken("hospital"):
        waiting = asyncio.create_task(AsyncExitStack().enter_async_context(places.taken("hospital")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    assert places.load == 0
    async with places.taken("other"):
        assert places.load == 1


async def test_what_cannot_be_measured_keeps_its_level_is_logged_once_and_ends_no_watching(ingest, monkeypatch):
    watch, machine = ingest.admission.watch, ingest.admission.machine
    machine.used_memory_bytes = 2000
    await watch.measure_once()

    def no_descriptors() -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(watch, "_senses", Senses(no_descriptors, no_descriptors))
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await watch.measure_once()

    assert watch.load_of(Concern.MEMORY) == 2
    assert watch.load_of(Concern.DISK) is None
    assert [(log["event"], log["of"]) for log in logs] == [
        ("admission.not_measured", "memory"),
        ("admission.not_measured", "disk"),
    ]


async def test_a_disk_that_does_not_answer_takes_one_thread_and_the_rest_is_measured(ingest, monkeypatch):
    watch, backlog, released, looks = ingest.admission.watch, ingest.admission.backlog, threading.Event(), []

    def hanging() -> Disk:
        looks.append("look")
        released.wait()
        return Disk(100_000, 50_000)

    monkeypatch.setattr("radbus_ingest.handlers.watching._DISK_S", 0.01)
    monkeypatch.setattr(watch, "_senses", Senses(hanging, lambda: 0))
    backlog.tasks = {"hospital": 20}
    for _ in range(3):
        await watch.measure_once()
    released.set()

    assert looks == ["look"]
    assert watch.load_of(Concern.TASKS) == 2
