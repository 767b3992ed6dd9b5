"""A job that is retried: what is said of its series, whatever the order in which its facts come."""

from __future__ import annotations

import itertools

import pytest
from radbus_contracts.identity import record_id
from radbus_storage import records
from radbus_testing.waiting import until

from tests.integration.results.world import DEADLINE_S, SERIES

pytestmark = pytest.mark.stack


async def case_settled(world) -> None:
    """Wait until nothing that was published is still on its way."""

    async def settled() -> bool:
        where = {"_id": record_id(world.institution, SERIES), "outbox": []}
        case = await world.documents[records.CASES].find_one(where)
        job = (case or {}).get("jobs", {}).get(world.job(), {})
        return "failed" in job and "retries" in job

    await until(settled, timeout_s=DEADLINE_S, what="both facts in the case")


async def failures(world, count: int) -> list[str]:
    """Wait until so many failures are told, each of an id of its own; return the ids."""

    async def heard() -> list[str] | None:
        ids = list(dict.fromkeys(event["id"] for key, event in world.heard if key == "inference.failed.v1"))
        return ids if len(ids) >= count else None

    return await until(heard, timeout_s=DEADLINE_S, what=f"{count} failures")


@pytest.mark.parametrize("order", list(itertools.permutations(("failed", "retried"))), ids="-".join)
async def test_what_is_retried_is_under_process_until_it_is_completed(world, order):
    await world.publish(world.series_completed(), world.requested())
    await world.publish(*(getattr(world, name)() for name in order for _ in range(2)))
    await case_settled(world)

    waiting = (await world.get(f"/results/{SERIES}")).status_code
    await world.store_outcome(world.job())
    await world.publish(world.completed(), world.failed())
    body = await world.answered(200)

    assert (waiting, body["triage_status"]) == (202, "Routine")


async def test_a_job_that_fails_again_is_failed_again_and_each_failure_is_told_once(world):
    await world.publish(world.series_completed(), world.requested(), world.failed())
    await world.answered(500)
    await world.publish(world.retried())
    await world.answered(202)

    await world.publish(world.failed(retries=1), world.failed(retries=1), world.failed())
    await world.answered(500)

    assert len(await failures(world, 2)) == 2


async def test_a_failure_that_was_recorded_before_retries_were_counted_is_not_told_twice(world):
    await world.publish(world.series_completed(), world.requested(), world.failed())
    await world.answered(500)
    await failures(world, 1)
    retries = {f"jobs.{world.job()}.failed.retries": ""}
    await world.documents[records.CASES].update({"_id": record_id(world.institution, SERIES)}, {"$unset": retries})

    await world.publish(world.failed(), world.retried(), world.failed(retries=1))
    await failures(world, 2)

    told = [event["id"] for key, event in world.heard if key == "inference.failed.v1"]
    assert len(told) == 2
