"""The router as a process of its own, on a real broker and database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import pytest
import requests
from aio_pika.abc import AbstractIncomingMessage
from radbus_contracts.envelope import Event, Payload
from radbus_contracts.facts import (
    Dialect,
    JobRequestedV1,
    Priority,
    Scope,
    SeriesCompletedV1,
    SeriesUnroutedV1,
    Source,
    StudyCompletedV1,
)
from radbus_contracts.identity import job_id, record_id
from radbus_contracts.topology import EVENTS, JOB_REQUESTED, SERIES_COMPLETED, SERIES_UNROUTED, STUDY_COMPLETED, Fact
from radbus_runtime.auth.tokens import create_token
from radbus_runtime.events import Outgoing, Teller
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.records import TOKENS
from radbus_testing.programs import service_running, settings_of

pytestmark = pytest.mark.stack

DEADLINE_S = 20
CHEST_CT = {"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "BodyPartExamined": "CHEST"}
ON_REQUEST = """
use_case: later
version: 1
title: When somebody asks
sources: [later]
when: {modality: series.Modality == "DX"}
compute: on-request
tasks: [{id: one, machine: report}]
"""
OF_STUDY = """
use_case: both
version: 3
title: A CT with its MR
scope: study
when:
  ct: study.series.exists(each, each.Modality == "CT")
  mr: study.series.exists(each, each.Modality == "MR")
tasks: [{id: one, machine: report}]
"""


@dataclass
class World:
    """The router with what is around it: other services' records and messages."""

    documents: Documents
    exchange: aio_pika.abc.AbstractExchange
    institution: str
    heard: list[Event[Any]] = field(default_factory=list)
    source: Source = field(default_factory=lambda: Source(dialect=Dialect.C_STORE, calling_ae_title="CT1"))

    async def store_series(self, uid: str, *, instances: int = 40, **elements: Any) -> None:
        await self.documents[records.SERIES].insert(
            {
                "_id": record_id(self.institution, uid),
                "institution": self.institution,
                "study_instance_uid": "1.1",
                "series_instance_uid": uid,
                "revision": 1,
                "instance_count": instances,
                "elements": elements,
                "all": {"InstanceNumber": [1, 2, 3]},
            }
        )

    async def complete_series(self, uid: str, *, revision: int = 1) -> None:
        completed = SeriesCompletedV1(
            study_instance_uid="1.1",
            series_instance_uid=uid,
            revision=revision,
            modality="CT",
            instance_count=40,
            source=self.source,
        )
        await self.publish(SERIES_COMPLETED, completed, subject=uid)

    async def publish(self, fact: Fact, data: Payload, *, subject: str) -> None:
        message = Teller("ingest").tell(fact, data, subject=subject, institution=self.institution)
        body = aio_pika.Message(message.body.encode(), message_id=message.id)
        await self.exchange.publish(body, routing_key=message.routing_key)

    async def routing(self, uid: str, *, revision: int = 1) -> dict[str, Any]:
        """Wait until the subject is decided and all that was to be told is told."""

        async def decided() -> dict[str, Any] | None:
            key = f"{record_id(self.institution, uid)}/{revision}"
            return await self.documents[records.ROUTINGS].find_one({"_id": key, "outbox": []})

        async with asyncio.timeout(DEADLINE_S):
            while (found := await decided()) is None:
                await asyncio.sleep(0.05)
        return found

    async def hear(self, count: int = 1) -> list[Event[Any]]:
        """Wait until the router has told so much about this institution."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.heard) < count:
                await asyncio.sleep(0.05)
        return self.heard

    async def listen(self, message: AbstractIncomingMessage) -> None:
        kind = {JOB_REQUESTED.routing_key: JobRequestedV1, SERIES_UNROUTED.routing_key: SeriesUnroutedV1}
        event = Event[kind[message.routing_key]].parse(message.body)  # type: ignore[misc]
        if event.institution == self.institution:
            self.heard.append(event)


@pytest.fixture(scope="module")
def router(stack, tmp_path_factory) -> Iterator[str]:
    """The router's address."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "later.yaml").write_text(ON_REQUEST)
    (folder / "both.yaml").write_text(OF_STUDY)
    environment = {**stack.environment(), "RADBUS_SITE_USE_CASES_DIR": str(folder)}
    with service_running("router", environment, port=stack.layout.port("router"), log=folder / "router.log") as url:
        yield url


@pytest.fixture
async def world(stack, router, institution) -> AsyncIterator[World]:
    environment = stack.environment()
    documents = Documents(settings_of(environment).documents)
    connection = await aio_pika.connect(environment["RADBUS_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EVENTS)
        world = World(documents, exchange, institution)
        queue = await channel.declare_queue(exclusive=True)
        for fact in (JOB_REQUESTED, SERIES_UNROUTED):
            await queue.bind(exchange, fact.routing_key)
        await queue.consume(world.listen, no_ack=True)
        yield world
    documents.close()


async def test_a_chest_ct_is_recorded_with_every_answer_and_its_job_is_asked_for(world):
    await world.store_series("1.2", **CHEST_CT)

    await world.complete_series("1.2")
    [event] = await world.hear()
    routing = await world.routing("1.2")

    job = event.data
    assert job.job_id == job_id(institution=world.institution, use_case="qct", version=1, subject_uid="1.2", revision=1)
    assert (job.use_case, job.priority, [task.id for task in job.tasks]) == (
        "qct",
        Priority.ROUTINE,
        ["lungs", "report"],
    )
    assert routing["job_ids"] == [job.job_id]
    assert (routing["reason"], routing["scope"], routing["subject_uid"]) == (None, "series", "1.2")
    qct, later = routing["decisions"]
    assert {each["answer"] for each in qct["conditions"]} == {"yes"}
    assert (qct["matched"], qct["job"]["job_id"], later["matched"], later["job"]) == (True, job.job_id, False, None)


async def test_a_series_completed_twice_is_decided_once_and_tells_nothing_else(world):
    await world.store_series("1.2", **CHEST_CT)

    await world.complete_series("1.2")
    first = await world.routing("1.2")
    await world.complete_series("1.2")
    await world.complete_series("1.2", revision=2)
    await world.routing("1.2", revision=2)
    await world.hear(2)

    assert await world.routing("1.2") == first
    told = {event.id: event.data.revision for event in world.heard}
    assert sorted(told.values()) == [1, 2]


async def test_a_series_without_a_use_case_is_unrouted_with_the_reason(world):
    await world.store_series("1.3", instances=2, Modality="CR", PatientName="DOE^JANE")

    await world.complete_series("1.3")
    [event] = await world.hear()
    routing = await world.routing("1.3")

    assert event.type == SERIES_UNROUTED.type
    assert event.data.reason.startswith("No use case matches: qct (modality: no; ")
    assert (routing["reason"], routing["job_ids"]) == (event.data.reason, [])
    assert "DOE" not in str(routing)


async def test_a_use_case_on_request_is_recorded_with_its_whole_request_and_tells_nothing(world):
    world.source = Source(dialect=Dialect.UPLOAD, workspace="later")
    await world.store_series("1.4", instances=1, Modality="DX")

    await world.complete_series("1.4")
    routing = await world.routing("1.4")

    [later] = [each for each in routing["decisions"] if each["matched"]]
    assert (later["use_case"], later["on_request"]) == ("later", True)
    assert JobRequestedV1.model_validate(later["job"]).subject_uid == "1.4"
    assert (routing["job_ids"], routing["reason"], world.heard) == ([], None, [])


async def test_a_study_has_one_job_with_all_its_series(world):
    await world.store_series("1.5", Modality="CT")
    await world.store_series("1.6", Modality="MR")
    completed = StudyCompletedV1(
        study_instance_uid="1.1", series_instance_uids=("1.5", "1.6"), revision=1, source=world.source
    )

    await world.publish(STUDY_COMPLETED, completed, subject="1.1")
    [event] = await world.hear()
    routing = await world.routing("1.1")

    job = event.data
    assert (job.use_case, job.use_case_version, job.scope, job.subject_uid) == ("both", 3, Scope.STUDY, "1.1")
    assert job.series_instance_uids == ("1.5", "1.6")
    assert routing["job_ids"] == [job.job_id]


async def test_what_a_dead_router_has_written_and_not_told_is_told_as_it_was_written(world):
    left = Teller("router").tell(
        SERIES_UNROUTED,
        SeriesUnroutedV1(study_instance_uid="1.1", series_instance_uid="1.2", revision=1, reason="as decided then"),
        subject="1.2",
        institution=world.institution,
    )
    assert isinstance(left, Outgoing)
    await world.store_series("1.2", **CHEST_CT)
    await world.documents[records.ROUTINGS].insert(
        {"_id": f"{record_id(world.institution, '1.2')}/1", "outbox": [left.document()]}
    )

    await world.complete_series("1.2")
    await world.routing("1.2")
    await world.hear()

    assert {(event.id, event.data.reason) for event in world.heard} == {(left.id, "as decided then")}


async def test_a_series_whose_record_is_not_there_is_tried_again_and_another_institutions_is_not_read(world):
    await world.documents[records.SERIES].insert(
        {"_id": record_id(f"{world.institution}-other", "1.2"), "institution": "other", "series_instance_uid": "1.2"}
    )
    await world.complete_series("1.2")
    await world.complete_series("1.9")
    await world.store_series("1.9", **CHEST_CT)
    await world.routing("1.9")

    await world.store_series("1.2", **CHEST_CT)
    routing = await world.routing("1.2")

    assert len(routing["job_ids"]) == 1


async def test_the_use_cases_are_told_to_those_with_a_token_only(world, router):
    token = await create_token(world.documents[TOKENS], institution=world.institution, name="test")
    asked = {"series": [{**CHEST_CT, "instances": 40}]}

    known = {"Authorization": f"Token {token}"}
    listed = await asyncio.to_thread(requests.get, f"{router}/use-cases", headers=known, timeout=5)
    explained = await asyncio.to_thread(requests.post, f"{router}/explain", headers=known, json=asked, timeout=5)
    refused = await asyncio.to_thread(requests.post, f"{router}/explain", json=asked, timeout=5)

    assert [each["use_case"] for each in listed.json()["use_cases"]] == ["qct", "both", "later"]
    [series] = explained.json()["series"]
    assert [(each["use_case"], each["matched"]) for each in series["use_cases"]] == [("qct", True), ("later", False)]
    assert refused.status_code == 401
