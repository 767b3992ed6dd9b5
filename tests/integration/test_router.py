"""The router as a process of its own, on a real broker and database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import pytest
import requests
import yaml
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
from radbus_testing.waiting import until

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
AUTOMATIC_AND_LATER = """
use_case: at-once
version: 1
title: By itself
sources: [both-kinds]
when: {modality: series.Modality == "US"}
tasks: [{id: one, machine: report}]
"""
LATER_TOO = """
use_case: later-too
version: 1
title: When somebody asks
sources: [both-kinds]
when: {modality: series.Modality == "US"}
compute: on-request
tasks: [{id: one, machine: report}]
"""
STUDY_LATER = """
use_case: study-later
version: 1
title: A whole study, when somebody asks
scope: study
when: {all: 'study.series.all(each, each.Modality == "XA")'}
compute: on-request
tasks: [{id: one, machine: report}]
"""
CHANNELS = """
use_case: channels
version: 1
title: Two channels
scope: study
when: {mr: 'study.series.exists(each, each.Modality == "MG")'}
tasks:
  - id: segment
    machine: two-inputs
    channels:
      plain: series.SeriesDescription == "plain"
      enhanced: series.SeriesDescription == "enhanced"
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

    async def store_series(self, uid: str, *, instances: int = 40, state: str = "complete", **elements: Any) -> None:
        await self.documents[records.SERIES].insert(
            {
                "_id": record_id(self.institution, uid),
                "institution": self.institution,
                "study_instance_uid": "1.1",
                "series_instance_uid": uid,
                "state": state,
                "revision": 1 if state == "complete" else 0,
                "instance_count": instances,
                "elements": elements,
                "all": {"InstanceNumber": [1, 2, 3]},
            }
        )

    async def store_study(self, *, revision: int = 1) -> None:
        study = {"institution": self.institution, "study_instance_uid": "1.1", "state": "complete"}
        await self.documents[records.STUDIES].insert(
            {"_id": record_id(self.institution, "1.1"), "revision": revision, **study}
        )

    async def complete_study(self, *series: str) -> None:
        completed = StudyCompletedV1(
            study_instance_uid="1.1", series_instance_uids=series, revision=1, source=self.source
        )
        await self.publish(STUDY_COMPLETED, completed, subject="1.1")

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

    async def jobs(self, count: int) -> dict[str, JobRequestedV1]:
        """Wait until so many jobs are asked for; return them by id, one that was told twice once."""

        async def enough() -> dict[str, JobRequestedV1] | None:
            found = {each.data.job_id: each.data for each in self.heard if isinstance(each.data, JobRequestedV1)}
            return found if len(found) >= count else None

        return await until(enough, timeout_s=DEADLINE_S, what=f"{count} jobs")

    async def listen(self, message: AbstractIncomingMessage) -> None:
        kind = {JOB_REQUESTED.routing_key: JobRequestedV1, SERIES_UNROUTED.routing_key: SeriesUnroutedV1}
        event = Event[kind[message.routing_key]].parse(message.body)  # type: ignore[misc]
        if event.institution == self.institution:
            self.heard.append(event)


@pytest.fixture(scope="module")
def router(stack, tmp_path_factory) -> Iterator[str]:
    """The router's address."""
    folder = tmp_path_factory.mktemp("site")
    for text in (ON_REQUEST, OF_STUDY, AUTOMATIC_AND_LATER, LATER_TOO, STUDY_LATER, CHANNELS):
        (folder / f"{yaml.safe_load(text)['use_case']}.yaml").write_text(text)
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
    qct, *others = routing["decisions"]
    assert {each["answer"] for each in qct["conditions"]} == {"yes"}
    assert (qct["matched"], qct["job"]["job_id"], qct["runs"]) == (True, job.job_id, 1)
    assert {(each["matched"], each["job"], each["runs"]) for each in others} == {(False, None, 0)}


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

    async def settled() -> bool | None:
        return (await world.routing("1.4"))["wishes_seen"] or None

    assert await until(settled, timeout_s=20, what="a look for wishes")


async def test_a_study_has_one_job_with_all_its_series(world):
    await world.store_series("1.5", Modality="CT")
    await world.store_series("1.6", Modality="MR")

    await world.complete_study("1.5", "1.6")
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

    assert {"qct", "both", "later"} <= {each["use_case"] for each in listed.json()["use_cases"]}
    [series] = explained.json()["series"]
    assert [each["use_case"] for each in series["use_cases"] if each["matched"]] == ["qct"]
    assert refused.status_code == 401


@dataclass(frozen=True)
class Client:
    """Asks for computation in the name of one institution."""

    url: str
    token: str

    async def ask(self, uid: str, *, body: bytes | None = None, method: str = "GET") -> requests.Response:
        headers = {"Authorization": f"Token {self.token}"}
        return await asyncio.to_thread(
            requests.request, method, f"{self.url}/compute/{uid}", headers=headers, data=body, timeout=20
        )


@pytest.fixture
async def client(world, router) -> Client:
    return Client(router, await create_token(world.documents[TOKENS], institution=world.institution, name="test"))


PUSHED = {"message": "series_instance_uid successfully pushed for computation!", "success": True}
RECOMPUTE = b'{"recompute": true}'


async def test_what_waits_for_somebody_to_ask_is_pushed_once_and_again_only_with_recompute(world, client):
    world.source = Source(dialect=Dialect.UPLOAD, workspace="later")
    await world.store_series("1.4", instances=1, Modality="DX")
    await world.complete_series("1.4")
    await world.routing("1.4")

    first = await client.ask("1.4")
    second = await client.ask("1.4")
    again = await client.ask("1.4", body=RECOMPUTE)
    jobs = await world.jobs(2)
    routing = await world.routing("1.4")

    assert (first.status_code, first.json(), first.headers["content-type"]) == (200, PUSHED, "application/json")
    assert (second.status_code, second.content, "content-type" in second.headers) == (304, b"", False)
    assert (again.status_code, again.json()) == (200, PUSHED)
    ids = [
        job_id(institution=world.institution, use_case="later", version=1, subject_uid="1.4", revision=1, run=run)
        for run in (1, 2)
    ]
    assert {run: job.run for run, job in jobs.items()} == dict(zip(ids, (1, 2), strict=True))
    assert routing["job_ids"] == ids


async def test_a_series_whose_jobs_are_pushed_by_themselves_is_pushed_already(world, client):
    await world.store_series("1.2", **CHEST_CT)
    await world.complete_series("1.2")
    await world.routing("1.2")

    plain = await client.ask("1.2")
    again = await client.ask("1.2", body=RECOMPUTE, method="POST")
    jobs = await world.jobs(2)

    assert (plain.status_code, again.status_code) == (304, 200)
    assert sorted(job.run for job in jobs.values()) == [1, 2]
    assert {job.use_case for job in jobs.values()} == {"qct"}


async def test_only_what_was_never_pushed_is_pushed_beside_what_computes_by_itself(world, client):
    world.source = Source(dialect=Dialect.UPLOAD, workspace="both-kinds")
    await world.store_series("1.2", Modality="US")
    await world.complete_series("1.2")
    await world.routing("1.2")

    assert (await client.ask("1.2")).status_code == 200
    jobs = await world.jobs(2)

    assert (await client.ask("1.2")).status_code == 304
    assert sorted((job.use_case, job.run) for job in jobs.values()) == [("at-once", 1), ("later-too", 1)]


async def test_many_who_ask_while_a_series_is_being_routed_make_one_job_and_none_is_lost(world, client):
    world.source = Source(dialect=Dialect.UPLOAD, workspace="later")
    series = [f"1.4.{number}" for number in range(1, 9)]
    for uid in series:
        await world.store_series(uid, instances=1, Modality="DX")

    async def ask_and_complete(uid: str) -> list[requests.Response]:
        asked = [client.ask(uid) for _ in range(3)]
        _, *answers = await asyncio.gather(world.complete_series(uid), *asked)
        return answers

    answers = [answer for group in await asyncio.gather(*map(ask_and_complete, series)) for answer in group]
    jobs = await world.jobs(len(series))
    routings = [await world.routing(uid) for uid in series]

    assert {answer.status_code for answer in answers} <= {200, 304}
    assert sorted(job.subject_uid for job in jobs.values()) == series
    assert [len(routing["job_ids"]) for routing in routings] == [1] * len(series)


async def test_runs_that_are_asked_for_at_the_same_moment_are_all_made_and_do_not_collide(world, client):
    await world.store_series("1.2", **CHEST_CT)
    await world.complete_series("1.2")
    await world.routing("1.2")

    answers = await asyncio.gather(*(client.ask("1.2", body=RECOMPUTE) for _ in range(4)))
    jobs = await world.jobs(5)
    routing = await world.routing("1.2")

    assert [answer.status_code for answer in answers] == [200] * 4
    assert sorted(job.run for job in jobs.values()) == [1, 2, 3, 4, 5]
    assert sorted(routing["job_ids"]) == sorted(jobs)


async def test_a_job_runs_once_more_alone_and_once_however_often_it_is_asked_for(world, client):
    world.source = Source(dialect=Dialect.UPLOAD, workspace="both-kinds")
    await world.store_series("1.2", Modality="US")
    await world.complete_series("1.2")
    await client.ask("1.2")
    first = next(job for job in (await world.jobs(2)).values() if job.use_case == "at-once")
    body = json.dumps({"rerun": first.job_id}).encode()

    answers = await asyncio.gather(*(client.ask("1.2", body=body, method="POST") for _ in range(4)))
    jobs = await world.jobs(3)

    [new] = {answer.json()["job_id"] for answer in answers}
    assert {answer.status_code for answer in answers} == {200}
    assert sorted((job.use_case, job.run) for job in jobs.values()) == [
        ("at-once", 1),
        ("at-once", 2),
        ("later-too", 1),
    ]
    assert (jobs[new].use_case, jobs[new].run) == ("at-once", 2)


async def test_a_job_of_an_older_revision_or_of_other_images_is_not_run_once_more(world, client):
    for uid in ("1.2", "1.3"):
        await world.store_series(uid, **CHEST_CT)
        await world.complete_series(uid)
    older = (await world.routing("1.2"))["job_ids"][0]
    await world.complete_series("1.2", revision=2)
    await world.routing("1.2", revision=2)

    body = json.dumps({"rerun": older}).encode()
    answers = [await client.ask(uid, body=body, method="POST") for uid in ("1.2", "1.3", "1.9")]

    assert [answer.status_code for answer in answers] == [409, 409, 404]
    assert answers[0].json()["message"] == "expected a job of the newest revision of 1.2"


async def test_a_wish_for_what_is_not_routed_yet_is_kept_and_granted_with_the_decision(world, client):
    world.source = Source(dialect=Dialect.UPLOAD, workspace="later")
    await world.store_series("1.4", instances=1, state="receiving", Modality="DX")

    early = [await client.ask("1.4"), await client.ask("1.4")]
    await world.complete_series("1.4")
    jobs = await world.jobs(1)
    await world.complete_series("1.4")
    await world.complete_series("1.4", revision=2)
    await world.routing("1.4", revision=2)

    assert [(answer.status_code, answer.json()) for answer in early] == [(200, PUSHED)] * 2
    assert [job.revision for job in jobs.values()] == [1]
    assert sorted(job.revision for job in (await world.jobs(2)).values()) == [1, 2]


async def test_who_has_asked_once_has_asked_for_later_revisions_too(world, client):
    world.source = Source(dialect=Dialect.UPLOAD, workspace="later")
    await world.store_series("1.4", instances=1, Modality="DX")
    await world.complete_series("1.4")
    await world.routing("1.4")
    await client.ask("1.4")
    await world.jobs(1)
    await world.documents[records.WISHES].delete({"institution": world.institution})  # as it is after a day

    await world.complete_series("1.4", revision=2)

    assert sorted(job.revision for job in (await world.jobs(2)).values()) == [1, 2]


async def test_a_wish_that_a_dying_router_had_not_looked_for_is_granted_when_its_message_comes_again(world):
    world.source = Source(dialect=Dialect.UPLOAD, workspace="later")
    await world.store_series("1.4", instances=1, Modality="DX")
    await world.complete_series("1.4")
    await world.routing("1.4")
    wish = {"_id": record_id(world.institution, "1.4"), "institution": world.institution}
    await world.documents[records.WISHES].insert(wish)

    await world.complete_series("1.4")

    assert [job.subject_uid for job in (await world.jobs(1)).values()] == ["1.4"]


async def test_a_use_case_of_a_whole_study_is_asked_for_by_a_series_of_it_or_by_the_study(world, client):
    await world.store_series("1.5", Modality="XA")
    await world.store_study()
    await world.complete_series("1.5")
    await world.complete_study("1.5")
    await world.routing("1.5")
    await world.routing("1.1")

    by_series = await client.ask("1.5")
    by_study = await client.ask("1.1")
    again = await client.ask("1.1", body=RECOMPUTE)
    jobs = await world.jobs(2)

    assert [answer.status_code for answer in (by_series, by_study, again)] == [200, 304, 200]
    assert {(job.use_case, job.scope, job.subject_uid) for job in jobs.values()} == {
        ("study-later", Scope.STUDY, "1.1")
    }


async def test_what_no_use_case_is_for_is_answered_as_the_results_are(world, client):
    await world.store_series("1.3", Modality="CR")
    await world.store_study()
    await world.complete_series("1.3")
    [event] = await world.hear()
    await world.routing("1.3")

    answer = await client.ask("1.3", body=RECOMPUTE)

    assert answer.status_code == 400
    assert answer.json() == {
        "success": False,
        "message": "Use case not implemented.",
        "usecase": "not_implemented",
        "debug_info": {"reason": event.data.reason},
        "result": {},
    }


async def test_an_instance_stands_for_its_series_and_another_institutions_uid_is_not_there(world, client, router):
    instance = {"study_instance_uid": "1.1", "series_instance_uid": "1.4", "institution": world.institution}
    await world.documents[records.INSTANCES].insert({"_id": record_id(world.institution, "1.4.7"), **instance})
    other = await create_token(world.documents[TOKENS], institution=f"{world.institution}-other", name="test")

    known = [await client.ask(uid) for uid in ("1.4.7", "1.4", "1.1")]
    refused = [await Client(router, other).ask("1.4.7"), await client.ask("1.4.8")]
    wishes = await world.documents[records.WISHES].find({"institution": {"$regex": world.institution}}, limit=10)

    assert [answer.status_code for answer in known] == [200, 200, 200]
    assert [answer.status_code for answer in refused] == [404, 404]
    missing = "Resource with SeriesInstanceUID 1.4.8 is not yet uploaded!"
    assert refused[1].json() == {"success": False, "message": missing}
    assert {wish["_id"] for wish in wishes} == {record_id(world.institution, uid) for uid in ("1.4", "1.1")}


async def test_each_channel_of_a_task_gets_the_largest_series_that_meets_it(world):
    await world.store_series("1.6", instances=10, Modality="MG", SeriesDescription="plain")
    await world.store_series("1.7", instances=20, Modality="MG", SeriesDescription="plain")
    await world.store_series("1.8", instances=5, Modality="MG", SeriesDescription="enhanced")

    await world.complete_study("1.6", "1.7", "1.8")
    [job] = (await world.jobs(1)).values()

    assert job.tasks[0].channels == {"plain": "1.7", "enhanced": "1.8"}
    assert job.series_instance_uids == ("1.6", "1.7", "1.8")
