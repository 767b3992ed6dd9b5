"""Retrying jobs, on a real broker and a real database, with a worker whose every step the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from radbus_cli.local.stack import LocalStack
from radbus_contracts.facts import TaskSpec
from radbus_runtime.auth.principal import AccessScope
from radbus_runtime.auth.tokens import create_token
from radbus_runtime.service import Service
from radbus_scheduler.settings import SchedulerSettings

from tests.integration.scripted_worker import (
    Scripted,
    client_of,
    eventually,
    running_scheduler,
    scheduler_settings,
    scripted,
)

pytestmark = pytest.mark.stack

CHAIN = (TaskSpec(id="a", machine="m"), TaskSpec(id="b", machine="m", needs=("a",)))


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


@pytest.fixture
async def client(scheduler: Service, script: Scripted, institution: str) -> AsyncIterator[httpx2.AsyncClient]:
    await script.announce(slots=5)
    async with client_of(scheduler, institution) as client:
        yield client


async def failed_job(script: Scripted, *tasks: TaskSpec, **asked: object) -> str:
    """Let a job fail by its first task."""
    job_id = await script.ask(*tasks, **asked)
    await script.fail(await script.order(), again=False)
    await script.until_job(job_id, "failed")
    return job_id


async def facts_of(script: Scripted, job_id: str, count: int) -> list[str]:
    """Wait until so much is told of a job; return the kinds, each fact once."""

    async def told() -> list[str] | None:
        kinds = list({event.id: event.type for event in script.told if event.data.job_id == job_id}.values())
        return kinds if len(kinds) >= count else None

    return await eventually(told)


async def test_a_failed_job_goes_on_where_it_failed_and_completes(script, client):
    job_id = await script.ask(*CHAIN)
    outcome = await script.succeed(await script.order())
    await script.fail(await script.order(), again=False)
    await script.until_job(job_id, "failed")

    answer = await client.post(f"/jobs/{job_id}/retry")
    order = await script.order()
    await script.succeed(order)
    job = await script.until_job(job_id, "completed")

    assert (answer.status_code, answer.json()["state"], answer.json()["retries"]) == (202, "active", 1)
    assert (order.task_id, order.attempt, order.needs[0].outcome_id) == ("b", 2, outcome)
    assert [task["attempt"] for task in job["tasks"]] == [1, 2]
    ends = ["radbus.job.failed.v1", "radbus.job.retried.v1", "radbus.job.completed.v1"]
    assert sorted(await facts_of(script, job_id, 3)) == sorted(ends)


async def test_a_job_that_fails_again_is_told_again_and_has_had_fresh_attempts(script, client):
    job_id = await failed_job(script)

    assert (await client.post(f"/jobs/{job_id}/retry")).status_code == 202
    attempts = []
    for _ in range(3):
        order = await script.order()
        attempts.append(order.attempt)
        await script.fail(order)

    assert attempts == [2, 3, 4]
    kinds = await facts_of(script, job_id, 3)
    assert sorted(kinds) == ["radbus.job.failed.v1"] * 2 + ["radbus.job.retried.v1"]


async def test_a_retry_that_comes_often_and_to_several_replicas_is_one(settings, script, institution):
    async with AsyncExitStack() as replicas:
        services = [await replicas.enter_async_context(running_scheduler(settings)) for _ in range(2)]
        await script.announce(slots=5)
        job_id = await failed_job(script)
        clients = [await replicas.enter_async_context(client_of(each, institution)) for each in services]

        answers = await asyncio.gather(*(client.post(f"/jobs/{job_id}/retry") for client in clients * 4))
        order = await script.order()
        await script.succeed(order)
        job = await script.until_job(job_id, "completed")

    assert {answer.status_code for answer in answers} == {202}
    assert (job["retries"], job["tasks"][0]["attempt"], script.orders.empty()) == (1, 2, True)


async def test_a_cancelled_job_can_go_on_and_has_a_new_deadline(script, client):
    job_id = await script.ask()
    await script.order()
    await client.post(f"/jobs/{job_id}/cancel")
    before = await script.until_job(job_id, "cancelled")

    await client.post(f"/jobs/{job_id}/retry")
    await script.succeed(await script.order())

    after = await script.until_job(job_id, "completed")
    assert after["finish_by"] > before["finish_by"]


async def test_an_attempt_of_before_may_still_win_after_the_retry(script, client):
    job_id = await script.ask()
    first = await script.order()
    await client.post(f"/jobs/{job_id}/cancel")
    await script.until_job(job_id, "cancelled")
    await client.post(f"/jobs/{job_id}/retry")
    await script.order()

    outcome = await script.succeed(first)

    assert (await script.until_job(job_id, "completed"))["tasks"][0]["outcome_id"] == outcome


async def test_what_makes_no_sense_is_409_with_what_was_expected(script, client):
    run = await failed_job(script, archive=f"{script.institution}/runs/1/upload.zip")
    active, older = await script.ask(), await script.ask(subject_uid="2.25.7", revision=1)
    await script.ask(subject_uid="2.25.7", revision=2)
    await script.until_job(older, "cancelled")

    answers = [await client.post(f"/jobs/{job_id}/retry") for job_id in (run, active, older)]

    assert [answer.status_code for answer in answers] == [409] * 3
    assert [answer.json()["message"] for answer in answers] == [
        "expected a job on series; this one was a run, whose zip is erased when it ends: start it again",
        "expected a job that has failed or was cancelled; this one is active",
        "expected a job of the newest revision; revision 2 has taken this one's place",
    ]


async def test_another_institutions_job_is_404_and_a_token_that_may_not_compute_is_refused(script, scheduler, client):
    job_id = await failed_job(script)
    readers = frozenset({AccessScope.READ})
    token = await create_token(
        scheduler.documents["tokens"], institution=script.institution, name="reader", scopes=readers
    )

    async with client_of(scheduler, f"{script.institution}-b") as stranger:
        unknown = await stranger.post(f"/jobs/{job_id}/retry")
    refused = await client.post(f"/jobs/{job_id}/retry", headers={"Authorization": f"Token {token}"})

    assert (unknown.status_code, unknown.json()["success"]) == (404, False)
    assert refused.status_code == 403
    assert (await script.job(job_id))["state"] == "failed"
