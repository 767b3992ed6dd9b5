"""The scheduler on a real broker and a real database, with a worker whose every step the test decides."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from prometheus_client import REGISTRY
from radbus_cli.local.stack import LocalStack
from radbus_contracts import facts, topology
from radbus_contracts.facts import Priority, TaskSpec
from radbus_contracts.orders import RunTaskV1
from radbus_runtime.events import Teller
from radbus_runtime.service import Service
from radbus_scheduler.adapters import metrics
from radbus_scheduler.settings import SchedulerSettings

from tests.integration.scripted_worker import (
    Scripted,
    client_of,
    eventually,
    running_scheduler,
    scheduler_settings,
    scripted,
    seconds_between,
)

pytestmark = pytest.mark.stack

FAN = (TaskSpec(id="a", machine="m"), TaskSpec(id="b", machine="m"), TaskSpec(id="c", machine="m", needs=("a", "b")))


@pytest.fixture
def pool() -> str:
    return f"pool-{uuid4().hex[:8]}"


@pytest.fixture
def settings(stack: LocalStack, pool: str, tmp_path: Path) -> SchedulerSettings:
    return scheduler_settings(stack, pool, tmp_path)


@pytest.fixture
async def script(settings: SchedulerSettings, institution: str, pool: str) -> AsyncIterator[Scripted]:
    async with scripted(settings, institution, pool) as worker:
        yield worker


@pytest.fixture
async def scheduler(settings: SchedulerSettings) -> AsyncIterator[Service]:
    async with running_scheduler(settings) as service:
        yield service


def with_changes(settings: SchedulerSettings, **changes: object) -> SchedulerSettings:
    return settings.model_copy(update=changes)


async def until_quiet(script: Scripted, scheduler_polls_s: float = 0.1) -> None:
    """Give the dispatcher the time to give an order that it must not give."""
    await asyncio.sleep(5 * scheduler_polls_s)
    assert script.orders.empty()


async def until_past(moment: datetime) -> None:
    """Let time go by: that nothing happens in it is what is looked for."""
    await asyncio.sleep((moment - datetime.now(UTC)).total_seconds())


async def test_tasks_fan_out_and_the_one_that_needs_them_follows_with_their_outcomes(scheduler, script):
    await script.announce(slots=5)

    job_id = await script.ask(*FAN)
    first, second = [await script.order(), await script.order()]
    outcomes = [await script.succeed(first), await script.succeed(second)]
    last = await script.order()
    await script.succeed(last)
    await script.until_job(job_id, "completed")

    assert {first.task_id, second.task_id, last.task_id} == {"a", "b", "c"}
    assert sorted(need.outcome_id for need in last.needs) == sorted(outcomes)
    assert len(script.completed[job_id].outcomes) == 3


async def test_a_job_asked_for_twice_is_one_job(scheduler, script):
    await script.announce(slots=5)

    job_id = await script.ask()
    await script.ask(job_id=job_id)
    await script.succeed(await script.order())
    await script.until_job(job_id, "completed")
    await script.ask(job_id=job_id)

    await until_quiet(script)
    assert (await script.task(job_id))["attempt"] == 1


async def test_a_job_with_an_unknown_machine_ends_as_failed_with_the_reason(scheduler, script):
    job_id = await script.ask(TaskSpec(id="a", machine="gone"))

    job = await script.until_job(job_id, "failed")

    assert "no machine is named 'gone'" in job["reason"]
    assert not script.failed[job_id].cancelled


async def test_a_failed_attempt_is_followed_by_another_after_the_backoff_until_none_is_left(scheduler, script):
    await script.announce(slots=1)
    job_id = await script.ask()

    orders = []
    for _ in range(3):
        orders.append(await script.order())
        await script.fail(orders[-1])
    job = await script.until_job(job_id, "failed")

    task = job["tasks"][0]
    assert [order.attempt for order in orders] == [1, 2, 3]
    assert seconds_between(task["not_before"], task["dispatched_at"]) >= 0
    assert (task["state"], script.failed[job_id].task_id) == ("failed", "a")


async def test_an_attempt_whose_lease_is_stale_is_followed_by_another_and_its_own_failure_is_ignored(scheduler, script):
    await script.announce(slots=1)
    job_id = await script.ask()
    stalled = await script.order()
    await script.lease(stalled, lasts_s=0.3)
    await script.start(stalled)

    second = await script.order()
    await script.lease(second, lasts_s=60)
    await script.start(second)
    await script.until_task(job_id, "running", attempt=2)
    await script.fail(stalled, again=False)
    await script.succeed(second)
    job = await script.until_job(job_id, "completed")

    assert second.attempt == 2
    assert job["tasks"][0]["outcome_id"].endswith("/2")


async def test_the_first_success_wins_also_when_it_is_of_an_attempt_that_was_given_up(scheduler, script):
    await script.announce(slots=1)
    job_id = await script.ask()
    stalled = await script.order()
    await script.lease(stalled, lasts_s=0.1)
    second = await script.order()

    outcome = await script.succeed(stalled)
    await script.until_job(job_id, "completed")
    await script.succeed(second)

    await until_quiet(script)
    assert (await script.task(job_id))["outcome_id"] == outcome


async def test_a_task_that_its_worker_gave_back_goes_out_again_and_has_lost_no_attempt(scheduler, script):
    await script.announce(slots=1)
    job_id = await script.ask()
    order = await script.order()
    await script.lease(order, lasts_s=60)

    await script.give_back(order)
    second = await script.order()

    task = await script.task(job_id)
    assert (second.attempt, task["max_attempts"]) == (2, 4)


async def test_an_attempt_that_left_an_outcome_is_not_given_up(scheduler, script):
    await script.announce(slots=1)
    job_id = await script.ask()
    order = await script.order()
    await script.lease(order, lasts_s=60)

    await script.documents["outcomes"].insert({"_id": f"{job_id}/a/1"})
    await script.give_back(order)

    await until_quiet(script)
    assert (await script.task(job_id))["attempt"] == 1


async def test_a_lease_starts_a_task_whose_start_nobody_told(scheduler, script):
    await script.announce(slots=1)
    job_id = await script.ask()

    await script.lease(await script.order(), lasts_s=60)

    assert (await script.until_task(job_id, "running"))["worker"] == script.worker


async def test_an_order_that_an_idle_pool_does_not_take_is_given_again(settings, script):
    async with running_scheduler(with_changes(settings, start_timeout_s=0.5)):
        await script.announce(slots=1)
        await script.ask()

        first, second = await script.order(), await script.order()

    assert (first.attempt, second.attempt) == (1, 2)


async def test_an_order_that_waits_for_a_busy_pool_is_not_given_again(settings, script):
    async with running_scheduler(with_changes(settings, start_timeout_s=0.3, look_ahead=1)):
        await script.announce(slots=1, busy=1)
        running, waiting = await script.ask(), await script.ask()
        await script.lease(await script.order(), lasts_s=60)
        await script.order()

        await until_quiet(script, 0.2)

        assert [(await script.task(job_id))["attempt"] for job_id in (running, waiting)] == [1, 1]


async def test_a_stat_job_overtakes_those_that_wait(scheduler, script):
    await script.announce(slots=1)
    routine = [await script.ask() for _ in range(3)]
    first = await script.order()

    stat = await script.ask(priority=Priority.STAT)
    await script.succeed(first)
    second = await script.order()

    assert (first.job_id, second.job_id) == (routine[0], stat)


async def test_a_flood_from_one_institution_does_not_hold_up_another(scheduler, script, institution):
    flood = [await script.ask() for _ in range(8)]
    other = [await script.ask(institution=f"{institution}-b") for _ in range(2)]

    await script.announce(slots=2)
    taken: list[str] = []
    for _ in range(4):
        order = await script.order()
        taken.append(order.job_id)
        await script.succeed(order)

    assert set(other) <= set(taken)
    assert [job_id for job_id in taken if job_id in flood] == flood[:2]


async def test_no_more_tasks_go_out_than_the_pool_has_slots_for(settings, script):
    async with running_scheduler(with_changes(settings, look_ahead=1)):
        for _ in range(6):
            await script.ask()
        await until_quiet(script)  # no worker: no look-ahead either

        await script.announce(slots=2)
        for _ in range(3):
            await script.order()

        await until_quiet(script)


async def test_two_replicas_give_each_task_once_and_never_more_than_there_are_slots_for(settings, script):
    asked, in_flight, most = 40, 0, 0
    taken: list[RunTaskV1] = []
    async with AsyncExitStack() as replicas:
        for _ in range(2):
            await replicas.enter_async_context(running_scheduler(settings))
        job_ids = await asyncio.gather(*(script.ask() for _ in range(asked)))
        await script.announce(slots=8)

        while len(taken) < asked:
            taken.append(await script.order())
            in_flight = await script.documents["jobs"].count({"tasks.state": {"$in": ["dispatched", "running"]}})
            most = max(most, in_flight)
            await script.succeed(taken[-1])
        for job_id in job_ids:
            await script.until_job(job_id, "completed")

    assert Counter(order.job_id for order in taken) == Counter(job_ids)
    assert {order.attempt for order in taken} == {1}
    assert most <= 8


async def test_no_success_is_lost_when_all_tasks_of_a_job_end_at_the_same_moment(settings, script):
    many = tuple(TaskSpec(id=f"t{number}", machine="m") for number in range(30))
    last = TaskSpec(id="last", machine="m", needs=tuple(task.id for task in many))
    async with AsyncExitStack() as replicas:
        for _ in range(2):
            await replicas.enter_async_context(running_scheduler(settings))
        await script.announce(slots=30)
        job_id = await script.ask(*many, last)
        orders = [await script.order() for _ in many]

        await asyncio.gather(*(script.succeed(order) for order in orders))
        await script.succeed(await script.order())
        await script.until_job(job_id, "completed")

    assert len(script.completed[job_id].outcomes) == 31


async def test_a_newer_revision_takes_the_place_of_the_older_one_in_whatever_order_they_come(scheduler, script):
    older = await script.ask(subject_uid="2.25.7", revision=1)
    newer = await script.ask(subject_uid="2.25.7", revision=3)
    late = await script.ask(subject_uid="2.25.7", revision=2)

    jobs = [await script.until_job(job_id, "cancelled") for job_id in (older, late)]

    assert {job["reason"] for job in jobs} == {"superseded by revision 3"}
    assert (await script.job(newer))["state"] == "active"


async def test_a_job_cancelled_by_message_ends_and_its_task_is_given_to_nobody(scheduler, script):
    job_id = await script.ask()

    asked = facts.JobCancelRequestedV1(job_id=job_id, reason="not wanted")
    await script.tell(topology.JOB_CANCEL_REQUESTED, asked, institution="another")
    await script.tell(topology.JOB_CANCEL_REQUESTED, asked)
    await script.until_job(job_id, "cancelled")
    await script.announce(slots=1)

    await until_quiet(script)
    assert script.failed[job_id].cancelled


async def test_a_job_that_nobody_begins_in_time_fails(settings, script):
    async with running_scheduler(with_changes(settings, job_wait_s=0.5)):
        job_id = await script.ask()

        job = await script.until_job(job_id, "failed")

    assert (job["reason"], job["begun_at"]) == ("no worker was free to begin it in time", None)
    assert [task["state"] for task in job["tasks"]] == ["cancelled"]


async def test_a_scheduler_shows_that_no_job_of_a_use_case_has_failed_while_its_first_one_runs(settings, script):
    async def shown() -> bool:
        failed = {"use_case": "qct", "state": "failed"}
        return REGISTRY.get_sample_value("radbus_jobs_ended_total", failed) == 0

    async with running_scheduler(with_changes(settings, count_every_s=0.1)):
        metrics.jobs_ended.clear()  # of other tests
        await script.ask()

        await eventually(shown)


async def test_a_job_that_has_waited_for_longer_than_its_deadline_has_all_of_it_once_it_is_begun(settings, script):
    async with running_scheduler(with_changes(settings, job_deadline_s=3)):
        job_id = await script.ask()
        asked = await script.job(job_id)
        await until_past(asked["requested_at"] + timedelta(seconds=3.5))
        await script.announce(slots=1)
        order = await script.order()
        begun = await script.job(job_id)

        job = await script.until_job(job_id, "failed")

    assert order.finish_by == begun["finish_by"] == begun["begun_at"] + timedelta(seconds=3)
    assert job["reason"] == "the job's deadline has passed"


async def test_what_a_crash_left_in_the_outbox_is_told_after_it(settings, script):
    async with running_scheduler(settings) as service:
        documents = service.documents
        job_id = await script.ask()
        left = {"$set": {"outbox": [_left_behind(job_id, script.pool)]}}
        await documents["jobs"].update({"_id": job_id}, left)

        order = await script.order()
        await eventually(lambda: documents["jobs"].find_one({"_id": job_id, "outbox": []}))

    assert order.job_id == job_id


async def test_jobs_are_listed_newest_first_by_pages_and_only_to_their_institution(scheduler, script, institution):
    job_ids = [await script.ask() for _ in range(3)]
    await script.ask(institution=f"{institution}-b")

    async with client_of(scheduler, institution) as client:
        first = (await client.get("/jobs", params={"limit": 2, "state": "active"})).json()
        second = (await client.get("/jobs", params={"limit": 2, "state": "active", "cursor": first["next"]})).json()
        other = (await client.get("/jobs", params={"use_case": "qxr"})).json()

    assert [job["id"] for job in (*first["jobs"], *second["jobs"])] == job_ids[::-1]
    assert (second["next"], other["jobs"]) == (None, [])


async def test_a_job_is_read_and_cancelled_by_its_own_institution_only(scheduler, script, institution):
    job_id = await script.ask()

    async with client_of(scheduler, f"{institution}-b") as stranger:
        refused = [await stranger.get(f"/jobs/{job_id}"), await stranger.post(f"/jobs/{job_id}/cancel")]
    async with client_of(scheduler, institution) as owner:
        before = await owner.get(f"/jobs/{job_id}")
        done = [await owner.post(f"/jobs/{job_id}/cancel", json={"reason": "not wanted"}) for _ in range(2)]

    assert [answer.status_code for answer in refused] == [404, 404]
    assert before.json()["tasks"][0]["state"] == "ready"
    assert [(answer.status_code, answer.json()["state"]) for answer in done] == [(202, "cancelled")] * 2
    assert (await script.until_job(job_id, "cancelled"))["reason"] == "not wanted"


async def test_a_job_that_has_completed_cannot_be_cancelled(scheduler, script, institution):
    await script.announce(slots=1)
    job_id = await script.ask()
    await script.succeed(await script.order())
    await script.until_job(job_id, "completed")

    async with client_of(scheduler, institution) as client:
        answers = [await client.post(f"/jobs/{job_id}/cancel"), await client.get("/jobs", params={"cursor": "?"})]

    assert [answer.status_code for answer in answers] == [409, 400]


async def test_jobs_are_shown_to_nobody_without_a_token(scheduler):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(scheduler.api), base_url="http://test") as client:
        assert (await client.get("/jobs")).status_code == 401


async def test_a_job_on_an_archive_runs_beside_others_and_is_listed_though_it_has_no_series(scheduler, script):
    await script.announce(slots=2)
    several = TaskSpec(id="a", machine="m", channels={"ct": "1.2.3", "pet": "1.2.4"})
    on_archive = await script.ask(archive=f"{script.institution}/runs/1/upload.zip")
    on_series = await script.ask(several)

    orders = {order.job_id: order for order in (await script.order(), await script.order())}
    for order in orders.values():
        await script.succeed(order)
    await script.until_job(on_archive, "completed")
    await script.until_job(on_series, "completed")
    async with client_of(scheduler, script.institution) as client:
        page = (await client.get("/jobs")).json()["jobs"]

    assert orders[on_archive].archive == f"{script.institution}/runs/1/upload.zip"
    assert (orders[on_series].archive, orders[on_series].channels) == (None, several.channels)
    assert (script.completed[on_archive].subject_uid, script.completed[on_archive].outcomes[0].task_id) == (
        on_archive,
        "a",
    )
    shown = next(job for job in page if job["id"] == on_archive)
    assert (shown["scope"], shown["study_instance_uid"], shown["series_instance_uids"]) == ("archive", "", [])


def _left_behind(job_id: str, pool: str) -> dict[str, object]:
    order = RunTaskV1(
        job_id=job_id,
        task_id="a",
        attempt=1,
        machine="m",
        use_case="qct",
        title="Chest CT",
        study_instance_uid="2.25.1",
        series_instance_uids=(),
        finish_by=datetime.now(UTC),
    )
    message = Teller("scheduler").tell(
        topology.RUN_TASK, order, subject=job_id, institution="x", exchange=topology.TASKS, routing_key=pool
    )
    return {**message.document(), "at": datetime.now(UTC) - timedelta(minutes=1)}
