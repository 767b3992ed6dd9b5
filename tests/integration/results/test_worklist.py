"""A worklist has the critical first, then the not judged, of each what waits longest, each once, from its index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from radbus_contracts.identity import inference_id
from radbus_results.adapters.inferences import INFERENCE_INDEXES, Inferences, Search, WorklistPlace
from radbus_results.domain.triage import Urgency
from radbus_storage import records

pytestmark = pytest.mark.stack

CRITICAL = {"1.2.2", "1.2.5"}
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def waiting(world) -> list[str]:
    """Results of seven series, in the order in which they came; two are critical."""
    series = [f"1.2.{number}" for number in range(7)]
    for each in series:
        await world.store_outcome(world.job(each), index=50.0 if each in CRITICAL else 1.0)
        await world.publish(world.completed((each,)))
        await world.told(world.job(each))
    return series


async def pages(world, path: str) -> list[list[str]]:
    """Follow the links, and return the series of each page."""
    found = []
    while path:
        answer = await world.get(path)
        assert answer.status_code == 200, answer.text
        found.append([each["study"]["files"][0]["series_instance_uid"] for each in answer.json()])
        path = answer.links.get("next", {}).get("url", "").removeprefix(world.url)
    return found


def flat(pages: list[list[str]]) -> list[str]:
    return [each for page in pages for each in page]


async def test_the_critical_come_first_then_what_waits_longest_each_once(world, waiting):
    found = await pages(world, "/inferences?order=triage&limit=3")

    assert found == [["1.2.2", "1.2.5", "1.2.0"], ["1.2.1", "1.2.3", "1.2.4"], ["1.2.6"]]


async def test_every_size_of_page_holds_the_same(world, waiting):
    whole = ["1.2.2", "1.2.5", "1.2.0", "1.2.1", "1.2.3", "1.2.4", "1.2.6"]

    for size in (1, 2, 7, 50):
        assert flat(await pages(world, f"/inferences?order=triage&limit={size}")) == whole
    first = (await world.get("/inferences?order=triage&limit=3")).json()[2]
    since = first["completed_at"].replace("+", "%2B")
    assert flat(await pages(world, f"/inferences?order=triage&limit=2&since={since}")) == whole
    assert await pages(world, "/inferences?order=triage&triage=critical") == [["1.2.2", "1.2.5"]]


async def test_what_could_not_be_judged_comes_after_the_critical_and_before_all_that_was(world, waiting):
    for series in ("1.2.7", "1.2.8"):
        await world.store_outcome(world.job(series), usable=False)
        await world.publish(world.completed((series,)))
        await world.told(world.job(series))
    whole = ["1.2.2", "1.2.5", "1.2.7", "1.2.8", "1.2.0", "1.2.1", "1.2.3", "1.2.4", "1.2.6"]

    for size in (1, 2, 3, 4, 50):
        assert flat(await pages(world, f"/inferences?order=triage&limit={size}")) == whole
    assert flat(await pages(world, "/inferences?order=triage&triage=routine&limit=2")) == whole[2:]
    assert flat(await pages(world, "/inferences?order=triage&triage=critical")) == whole[:2]


async def test_what_was_overtaken_or_erased_is_on_no_worklist(world, waiting):
    inferences = world.documents[records.INFERENCES]
    await inferences.update({"_id": inference_id(world.job("1.2.2"))}, {"$set": {"superseded_by": "another"}})
    await inferences.update({"_id": inference_id(world.job("1.2.0"))}, {"$set": {"erased_at": datetime.now(UTC)}})

    (found,) = await pages(world, "/inferences?order=triage")

    assert found == ["1.2.5", "1.2.1", "1.2.3", "1.2.4", "1.2.6"]


async def test_a_cursor_of_the_other_order_is_refused(world, waiting):
    cursor = (await world.get("/inferences?limit=1")).links["next"]["url"].partition("cursor=")[2]

    assert (await world.get(f"/inferences?order=triage&limit=1&cursor={cursor}")).status_code == 400
    assert (await world.get("/inferences?order=oldest")).status_code in {400, 422}


@pytest.fixture
async def plans_of(environment, world):
    """Explain how a page behind a place is read from a worklist of 2,000 results."""
    client = AsyncIOMotorClient(environment["RADBUS_MONGO_URL"], tz_aware=True)
    collection, inner = world.documents["worklist-of-many"], client["radbus-results"]["worklist-of-many"]

    async def explain(urgency: Urgency, *, not_judged: int | None) -> list[dict]:
        await collection.ensure_indexes(INFERENCE_INDEXES)
        await collection.insert_many([_row(number, world.institution, not_judged) for number in range(2000)])
        place, seen = WorklistPlace(urgency, START + timedelta(minutes=1500), "01500"), Seen(inner)
        await Inferences(seen).worklist(world.institution, Search(since=START), limit=11, after=place)
        return await seen.explained()

    yield explain
    await client["radbus-results"].drop_collection("worklist-of-many")
    client.close()


async def test_a_page_deep_in_a_long_worklist_is_read_from_its_index(plans_of):
    plans = await plans_of(Urgency.ROUTINE, not_judged=None)

    assert sum(plan["nReturned"] for plan in plans) == 11
    assert all(plan["totalDocsExamined"] <= 11 for plan in plans)
    assert all(plan["totalKeysExamined"] <= 3 * 11 for plan in plans)
    assert all("'SORT'" not in str(plan["executionStages"]) for plan in plans)


async def test_the_few_that_were_not_judged_are_read_without_the_many_that_were(plans_of):
    *not_judged, routine = await plans_of(Urgency.NOT_JUDGED, not_judged=50)

    assert sum(plan["nReturned"] for plan in not_judged) == 10  # of the 500 behind the place
    assert all(plan["totalDocsExamined"] <= 11 for plan in not_judged)
    assert all(plan["totalKeysExamined"] <= 3 * 11 for plan in not_judged)
    assert all("'SORT'" not in str(plan["executionStages"]) for plan in (*not_judged, routine))


def _row(number: int, institution: str, not_judged: int | None) -> dict:
    return {
        "_id": f"{number:05d}",
        "institution": institution,
        "triage": "critical" if number % 10 == 0 else "routine",
        "triage_reason": "not judged: no index" if not_judged and number % not_judged == 1 else None,
        "completed_at": START + timedelta(minutes=number),
        "superseded_by": None,
        "outbox": [],
    }


class Seen:
    """A collection that answers nothing, and explains all that it was asked."""

    def __init__(self, inner) -> None:
        self._inner = inner
        self._asked: list[dict] = []

    async def find(self, where, *, limit, sort, only):
        self._asked.append({"find": self._inner.name, "filter": where, "limit": limit, "sort": dict(sort)})
        return []

    async def explained(self) -> list[dict]:
        orders = [{"explain": asked, "verbosity": "executionStats"} for asked in self._asked]
        return [(await self._inner.database.command(order))["executionStats"] for order in orders]
