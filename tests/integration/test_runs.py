"""Runs of models on uploaded zips: two replicas of ingest on real stores and a real broker, and no scheduler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
import requests
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from radbus_contracts import topology
from radbus_contracts.envelope import Payload
from radbus_contracts.errors import TransientError
from radbus_contracts.facts import JobCompletedV1, JobFailedV1
from radbus_ingest.adapters.runs import RunRecords
from radbus_ingest.domain.runs import Model, Upload, archive_key
from radbus_ingest.handlers.erasing import RunEraser
from radbus_runtime.auth.tokens import create_token
from radbus_runtime.events import Teller
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_testing.programs import service_running, settings_of
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

DEADLINE_S = 20
MODEL = "PassThroughModel:1729"


@dataclass
class World:
    """The replicas with what is around them."""

    urls: list[str]
    institution: str
    token: str
    documents: Documents
    objects: ObjectStore
    channel: AbstractChannel
    requested: list[dict[str, Any]] = field(default_factory=list)

    async def start(self, content: bytes, *, replica: int = 0, model: str = MODEL) -> str:
        answer = await asyncio.to_thread(
            requests.post,
            f"{self.urls[replica]}/v1/model/start/{model}",
            data=content,
            headers={"API_AUTH_SECRET": self.token, "Accept": "text/html"},
            timeout=60,
        )
        assert (answer.status_code, answer.headers["Content-Type"]) == (201, "text/plain")
        return answer.text

    async def run(self, run_id: str) -> dict[str, Any] | None:
        return await self.documents[records.RUNS].find_one({"_id": run_id})

    async def zips(self) -> list[str]:
        return await self.objects.keys(f"{self.institution}/runs/", limit=100)

    async def end(self, run_id: str, *, use_case: str = "inner-eye", failed: bool = False) -> None:
        """Tell that a job has ended, as the scheduler does."""
        about = {"job_id": run_id, "use_case": use_case, "study_instance_uid": "", "series_instance_uids": ()}
        about |= {"subject_uid": run_id, "revision": 1}
        fact, data = (
            (topology.JOB_FAILED, JobFailedV1(**about, task_id="segment", reason="no"))
            if failed
            else (topology.JOB_COMPLETED, JobCompletedV1(**about, use_case_version=1, outcomes=()))
        )
        await self._tell(fact, data, run_id)

    async def erased(self, run_id: str) -> dict[str, Any]:
        """Wait until a run's zip is said to be erased."""

        async def ended() -> dict[str, Any] | None:
            found = await self.run(run_id)
            return found if found and found["ended_at"] else None

        return await until(ended, timeout_s=DEADLINE_S, what="end of the run")

    async def request_of(self, run_id: str) -> dict[str, Any]:
        """Wait for the request for a run's job."""

        async def heard() -> dict[str, Any] | None:
            return next((event for event in self.requested if event["subject"] == run_id), None)

        return await until(heard, timeout_s=DEADLINE_S, what="job.requested")

    async def listen(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        if event["institution"] == self.institution:
            self.requested.append(event)

    async def _tell(self, fact: topology.Fact, data: Payload, subject: str) -> None:
        told = Teller("scheduler").tell(fact, data, subject=subject, institution=self.institution)
        exchange = await self.channel.get_exchange(told.exchange)
        message = aio_pika.Message(told.body.encode(), message_id=told.id, type=told.type)
        await exchange.publish(message, told.routing_key)


@pytest.fixture(scope="module")
def environment(stack) -> dict[str, str]:
    """The test's servers with a database of these tests' own: a sweep takes every run that it finds."""
    return {**stack.environment(), "RADBUS_MONGO_DATABASE": "radbus-runs"}


@pytest.fixture(scope="module")
def replicas(stack, environment, tmp_path_factory) -> Iterator[list[str]]:
    """The addresses of two replicas."""
    folder = tmp_path_factory.mktemp("runs")
    with ExitStack() as running:
        yield [
            running.enter_context(service_running("ingest", environment, port=port, log=folder / f"{port}.log"))
            for port in (stack.layout.port("ingest"), stack.layout.port("worker-9"))
        ]


@pytest.fixture
async def world(environment, replicas, institution) -> AsyncIterator[World]:
    settings = settings_of(environment)
    documents, objects = Documents(settings.documents), ObjectStore(settings.objects)
    token = await create_token(documents[records.TOKENS], institution=institution, name="gateway")
    connection = await aio_pika.connect(environment["RADBUS_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        world = World(replicas, institution, token, documents, objects, channel)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.EVENTS, topology.JOB_REQUESTED.routing_key)
        await queue.consume(world.listen, no_ack=True)
        yield world
    documents.close()
    objects.close()


async def job(world: World, run_id: str, state: str) -> None:
    await world.documents[records.JOBS].insert({"_id": run_id, "institution": world.institution, "state": state})


async def test_a_started_run_has_its_zip_and_its_record_stored_and_its_job_requested(world):
    content = uuid4().bytes * 200_000

    run_id = await world.start(content)

    event = await world.request_of(run_id)
    record = await world.run(run_id)
    assert await world.objects.get(record["archive"]) == content
    assert (record["institution"], record["model_id"], record["machine"]) == (world.institution, MODEL, "pass-through")
    assert record["ended_at"] is None
    assert event["data"]["archive"] == record["archive"]
    assert event["data"]["tasks"][0]["machine"] == "pass-through"


async def test_a_start_repeated_at_the_same_time_on_all_replicas_gives_one_run_and_one_zip(world):
    runs = await asyncio.gather(*(world.start(b"the same", replica=n % 2) for n in range(12)))

    [run_id] = set(runs)
    await world.request_of(run_id)
    assert await world.zips() == [archive_key(world.institution, run_id)]
    assert await world.documents[records.RUNS].count({"institution": world.institution}) == 1
    assert len(world.requested) == 1


async def test_other_bytes_another_model_and_another_institution_get_runs_of_their_own(world):
    first = await world.start(b"a")
    others = [await world.start(b"b"), await world.start(b"a", model="lung-ct:1.0.0")]
    world.token = await create_token(
        world.documents[records.TOKENS], institution=f"{world.institution}-other", name="gateway"
    )

    others.append(await world.start(b"a"))

    assert len({first, *others}) == 4


async def test_when_the_job_has_ended_the_zip_is_erased_and_the_same_start_still_finds_the_run(world):
    run_id = await world.start(b"zip")

    await world.end(run_id)
    await world.end(run_id)

    await world.erased(run_id)
    assert await world.zips() == []
    assert await world.start(b"zip") == run_id


async def test_a_run_that_failed_is_erased_and_the_same_start_is_a_new_run(world):
    failed = await world.start(b"zip")

    await world.end(failed, failed=True)
    await world.erased(failed)
    again = await world.start(b"zip", replica=1)

    assert again != failed
    assert await world.zips() == [archive_key(world.institution, again)]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_a_user_who_saw_a_run_fail_can_start_anew_before_its_end_was_heard(state, world):
    failed = await world.start(b"zip")
    await job(world, failed, state)

    again = await asyncio.gather(*(world.start(b"zip", replica=n % 2) for n in range(6)))

    assert len(set(again)) == 1
    assert failed not in again


async def test_the_same_start_much_later_is_a_new_run_and_never_two(world):
    upload = Upload(world.institution, Model(MODEL, "pass-through", "", ""), uuid4().hex, 3)
    runs = RunRecords(world.documents, repeat_s=300)
    told = Teller("ingest").tell(topology.JOB_FAILED, failed_fact(), subject="s", institution=world.institution)
    old, new, late = (str(uuid4()) for _ in range(3))
    for run_id in (old, new, late):
        await runs.announce(run_id, upload)
    await runs.begin(old, upload, told)

    at_once = await runs.begin(late, upload, told)
    much_later = await RunRecords(world.documents, repeat_s=0).holder(upload)
    begun = await runs.begin(new, upload, told)

    assert at_once == old
    assert much_later is None
    assert begun == await runs.holder(upload) == new


async def test_a_run_that_was_taken_back_cannot_be_begun_and_one_that_has_begun_cannot_be_taken_back(world):
    upload = Upload(world.institution, Model(MODEL, "pass-through", "", ""), uuid4().hex, 3)
    runs = RunRecords(world.documents, repeat_s=300)
    told = Teller("ingest").tell(topology.JOB_FAILED, failed_fact(), subject="s", institution=world.institution)
    withdrawn, begun = str(uuid4()), str(uuid4())
    await runs.announce(withdrawn, upload)
    await runs.announce(begun, upload)

    assert await runs.withdraw(withdrawn)
    with pytest.raises(TransientError):
        await runs.begin(withdrawn, upload, told)
    await runs.forget(withdrawn)
    await runs.begin(begun, upload, told)

    assert await world.run(withdrawn) is None
    assert not await runs.withdraw(begun)


async def test_the_sweep_erases_what_was_never_heard_of_and_leaves_what_still_runs(world):
    running, ended, orphan = [await world.start(content) for content in (b"1", b"2", b"3")]
    for run_id in (running, ended, orphan):
        await world.request_of(run_id)
        await until(lambda run_id=run_id: sent(world, run_id), timeout_s=DEADLINE_S, what="empty outbox")
    await job(world, running, "active")
    await job(world, ended, "failed")
    runs = RunRecords(world.documents, repeat_s=300)

    await RunEraser(runs, world.objects.delete, older_than_s=3600, sweep_every_s=1).sweep_once()
    too_young = await world.zips()
    await RunEraser(runs, world.objects.delete, older_than_s=0, sweep_every_s=1).sweep_once()

    assert len(too_young) == 3
    assert await world.zips() == [archive_key(world.institution, running)]
    assert (await world.run(running))["ended_at"] is None
    assert (await world.run(orphan))["ended_at"] is not None


async def test_the_sweep_leaves_no_parts_of_a_zip_whose_upload_was_cut_in_the_middle(world):
    run_id = str(uuid4())
    runs, key = RunRecords(world.documents, repeat_s=300), archive_key(world.institution, run_id)
    await runs.announce(run_id, Upload(world.institution, Model(MODEL, "pass-through", "", ""), uuid4().hex, 3))
    client, bucket = world.objects._client, world.objects._bucket
    upload_id = client._create_multipart_upload(bucket, key, {})
    client._upload_part(bucket, key, bytes(5 * 2**20), None, upload_id, 1)
    assert client._list_multipart_uploads(bucket, prefix=key).uploads

    await RunEraser(runs, world.objects.delete, older_than_s=0, sweep_every_s=1).sweep_once()

    assert not client._list_multipart_uploads(bucket, prefix=key).uploads
    assert (await world.run(run_id))["ended_at"] is not None


async def test_the_ends_of_all_other_jobs_are_acknowledged(world):
    mine = await world.start(b"zip")
    for use_case in ("qct", "inner-eye"):
        await world.end(str(uuid4()), use_case=use_case)
        await world.end(str(uuid4()), use_case=use_case, failed=True)
    await world.end(mine)
    await world.erased(mine)

    for queue in (topology.INGEST_JOB_COMPLETED, topology.INGEST_JOB_FAILED):
        await until(lambda queue=queue: is_empty(world, queue.name), timeout_s=DEADLINE_S, what="empty queue")
        assert await is_empty(world, queue.dead)


def failed_fact() -> JobFailedV1:
    return JobFailedV1(
        job_id="j",
        use_case="none",
        study_instance_uid="",
        series_instance_uids=(),
        subject_uid="s",
        revision=1,
        task_id=None,
        reason="",
    )


async def sent(world: World, run_id: str) -> bool | None:
    return (await world.run(run_id))["outbox"] == [] or None


async def is_empty(world: World, queue: str) -> bool | None:
    declared = await world.channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count == 0 or None
