"""The results service as a process of its own, on a real broker, database and object store."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import requests
from aio_pika.abc import AbstractIncomingMessage
from radbus_contracts.envelope import Event, Payload
from radbus_contracts.facts import (
    Dialect,
    JobCompletedV1,
    JobFailedV1,
    JobRequestedV1,
    Priority,
    Scope,
    SeriesCompletedV1,
    SeriesUnroutedV1,
    Source,
    TaskOutcome,
    TaskSpec,
)
from radbus_contracts.identity import inference_id, job_id, outcome_id, record_id
from radbus_contracts.topology import (
    EVENTS,
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_REQUESTED,
    SERIES_COMPLETED,
    SERIES_UNROUTED,
    Fact,
)
from radbus_runtime.auth.tokens import create_token
from radbus_runtime.events import Outgoing, Teller
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_storage.records import TOKENS
from radbus_testing.programs import service_running, settings_of
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

DEADLINE_S = 20
STUDY, SERIES, INSTANCE = "1.2", "1.2.3", "1.2.3.4"
SUBSCRIBER = Path(__file__).parents[2] / "examples" / "subscribers" / "critical_findings.py"


@dataclass
class World:
    """The results service with what is around it: other services' records, messages, and clients."""

    url: str
    documents: Documents
    objects: ObjectStore
    exchange: aio_pika.abc.AbstractExchange
    institution: str
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def job(self, subject: str = SERIES, *, revision: int = 1, use_case: str = "qct", run: int = 1) -> str:
        return job_id(
            institution=self.institution,
            use_case=use_case,
            version=1,
            subject_uid=subject,
            revision=revision,
            run=run,
        )

    def series_completed(self, series: str = SERIES, *, revision: int = 1) -> Outgoing:
        source = Source(dialect=Dialect.C_STORE)
        data = SeriesCompletedV1(
            study_instance_uid=STUDY,
            series_instance_uid=series,
            revision=revision,
            modality="CT",
            instance_count=40,
            source=source,
        )
        return self._tell(SERIES_COMPLETED, data)

    def unrouted(self, series: str = SERIES, *, reason: str = "qct (modality: no)") -> Outgoing:
        data = SeriesUnroutedV1(study_instance_uid=STUDY, series_instance_uid=series, revision=1, reason=reason)
        return self._tell(SERIES_UNROUTED, data)

    def requested(self, series: Sequence[str] = (SERIES,), **job: Any) -> Outgoing:
        data = JobRequestedV1(
            **self._job(series, **job),
            use_case_version=1,
            title="Chest CT",
            scope=Scope.SERIES if len(series) == 1 else Scope.STUDY,
            priority=Priority.ROUTINE,
            tasks=(TaskSpec(id="lungs", machine="lung-ct"),),
            run=job.get("run", 1),
        )
        return self._tell(JOB_REQUESTED, data)

    def completed(self, series: Sequence[str] = (SERIES,), **job: Any) -> Outgoing:
        fields = self._job(series, **job)
        lungs = TaskOutcome(task_id="lungs", outcome_id=outcome_id(fields["job_id"], "lungs", 1))
        data = JobCompletedV1(
            **fields, use_case_version=1, outcomes=(lungs,), critical_when="lungs.emphysema_index > 25.0"
        )
        return self._tell(JOB_COMPLETED, data)

    def failed(self, series: Sequence[str] = (SERIES,), *, cancelled: bool = False, **job: Any) -> Outgoing:
        data = JobFailedV1(
            **self._job(series, **job), task_id="lungs", reason="the worker was lost 3 times", cancelled=cancelled
        )
        return self._tell(JOB_FAILED, data)

    async def publish(self, *messages: Outgoing) -> None:
        for message in messages:
            body = aio_pika.Message(message.body.encode(), message_id=message.id)
            await self.exchange.publish(body, routing_key=message.routing_key)

    async def store_outcome(self, job: str, *, index: float = 3.0, usable: bool = True, summary: str = "Fine.") -> None:
        key = f"{self.institution}/derived/{job}/lungs/1"
        for name in ("labels-lungs.npz", "1.png"):
            await self.objects.put(f"{key}/{name}", b"bytes", size_bytes=5)
        await self.documents[records.OUTCOMES].insert(
            {
                "_id": outcome_id(job, "lungs", 1),
                "institution": self.institution,
                "job_id": job,
                "task_id": "lungs",
                "attempt": 1,
                "succeeded": True,
                "machine": {"name": "lung-ct", "version": "1.0.0", "title": "Lung CT", "weights_sha256": None},
                "summary": summary,
                "usable": usable,
                "values": {"emphysema_index": index},
                "measurements": [{"name": "emphysema_index", "value": index, "unit": "%"}],
                "findings": [],
                "limits": ["Slices are thick."],
                "inputs": {"pixel_spacing": {STUDY: {SERIES: [0.5, 0.5]}}},
                "files": {"npz": [f"{key}/labels-lungs.npz"], "sc_png": [f"{key}/1.png"]},
            }
        )

    async def store_job(self, job: str, *, requested_at: datetime, progress: float = 0) -> None:
        tasks = [{"state": "running", "progress": progress}, {"state": "waiting", "progress": 0}]
        await self.documents[records.JOBS].insert(
            {
                "_id": job,
                "institution": self.institution,
                "title": "Chest CT",
                "requested_at": requested_at,
                "tasks": tasks,
            }
        )

    async def store_series(self, series: str = SERIES, *, state: str = "complete", revision: int = 1) -> None:
        change = {
            "institution": self.institution,
            "study_instance_uid": STUDY,
            "series_instance_uid": series,
            "state": state,
            "revision": revision,
            "elements": {"StudyDate": "20260101"},
        }
        where = {"_id": record_id(self.institution, series)}
        await self.documents[records.SERIES].update(where, {"$set": change}, upsert=True)

    async def store_instance(self, sop_instance_uid: str = INSTANCE, *, data: bytes = b"an instance") -> None:
        key = f"{self.institution}/instances/{sop_instance_uid}"
        await self.objects.put(key, data, size_bytes=len(data))
        await self.documents[records.INSTANCES].insert(
            {
                "_id": record_id(self.institution, sop_instance_uid),
                "institution": self.institution,
                "study_instance_uid": STUDY,
                "series_instance_uid": SERIES,
                "sop_instance_uid": sop_instance_uid,
                "object_key": key,
                "size_bytes": len(data),
                "sha256": sop_instance_uid,
            }
        )

    async def get(self, path: str, **options: Any) -> requests.Response:
        headers = options.pop("headers", self.headers)
        return await asyncio.to_thread(requests.get, f"{self.url}{path}", headers=headers, timeout=30, **options)

    async def answered(self, status: int, uid: str = SERIES, *, triage: str | None = None) -> dict[str, Any]:
        """Wait until a UID is answered with a status."""

        async def asked() -> dict[str, Any] | None:
            answer = await self.get(f"/results/{uid}")
            body = answer.json()
            right = answer.status_code == status and triage in (None, body.get("triage_status"))
            return body if right else None

        return await until(asked, timeout_s=DEADLINE_S, what="asked")

    async def told(self, job: str) -> list[tuple[str, dict[str, Any]]]:
        """Wait until something is told of a job's end; return all of it."""

        async def heard() -> list[tuple[str, dict[str, Any]]] | None:
            return [each for each in self.heard if each[1]["data"]["job_id"] == job] or None

        return await until(heard, timeout_s=DEADLINE_S, what="heard")

    async def listen(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        if event["institution"] == self.institution:
            self.heard.append((message.routing_key or "", event))

    def _job(self, series: Sequence[str], **job: Any) -> dict[str, Any]:
        subject = series[0] if len(series) == 1 else STUDY
        return {
            "job_id": self.job(subject, **job),
            "use_case": job.get("use_case", "qct"),
            "study_instance_uid": STUDY,
            "series_instance_uids": tuple(series),
            "subject_uid": subject,
            "revision": job.get("revision", 1),
        }

    def _tell(self, fact: Fact, data: Payload) -> Outgoing:
        return Teller("test").tell(fact, data, subject="test", institution=self.institution)


@pytest.fixture(scope="module")
def results(stack, tmp_path_factory) -> Iterator[str]:
    """The service's address."""
    environment = {**stack.environment(), "RADBUS_ARCHIVE_LIMIT_BYTES": "100000"}
    log = tmp_path_factory.mktemp("results") / "results.log"
    with service_running("results", environment, port=stack.layout.port("results"), log=log) as url:
        yield url


@pytest.fixture
async def world(stack, results, institution) -> AsyncIterator[World]:
    environment = stack.environment()
    settings = settings_of(environment)
    documents, objects = Documents(settings.documents), ObjectStore(settings.objects)
    token = await create_token(documents[TOKENS], institution=institution, name="test", sources=("ward",))
    connection = await aio_pika.connect(environment["RADBUS_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EVENTS)
        headers = {"Authorization": f"Token {token}"}
        world = World(results, documents, objects, exchange, institution, headers)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "inference.#")
        await queue.consume(world.listen, no_ack=True)
        yield world
    objects.close()
    documents.close()


ORDERS = list(itertools.permutations(("series_completed", "requested", "completed")))


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_facts_in_any_order_and_twice_come_to_the_same_case_and_one_event(world, order):
    await world.store_outcome(world.job())

    await world.publish(*(getattr(world, name)() for name in order for _ in range(2)))
    body = await world.answered(200)
    told = await world.told(world.job())

    assert (body["triage_status"], body["usecase"], body["result"]["report"]) == ("Routine", "qct", "Fine.")
    assert {event["id"] for _, event in told} == {told[0][1]["id"]}
    assert told[0][0] == "inference.completed.v1.qct.routine"
    assert told[0][1]["data"]["inference_id"] == inference_id(world.job())

    async def whole() -> dict[str, Any] | None:
        case = await world.documents[records.CASES].find_one({"_id": record_id(world.institution, SERIES)})
        job = case["jobs"][world.job()]
        return case if "uploads" in case and "requested_at" in job and "completed" in job else None

    case = await until(whole, timeout_s=DEADLINE_S, what="whole")
    assert (case["revision"], len(case["jobs"]), case["uploads"]["1"]["instance_count"]) == (1, 1, 40)
    assert await world.documents[records.INFERENCES].count({"institution": world.institution}) == 1


async def test_an_outcome_that_comes_later_than_its_fact_is_waited_for(world):
    await world.publish(world.series_completed(), world.requested(), world.completed())
    waiting = await world.answered(202)

    await world.store_outcome(world.job())
    body = await world.answered(200)

    assert (
        waiting["message"]
        == f"Resource with SeriesInstanceUID {SERIES} is under process. Please check back in some time."
    )
    assert body["success"] is True


async def test_a_result_has_urls_that_anyone_can_read_for_a_time(world):
    await world.store_outcome(world.job(), index=30.0)
    await world.publish(world.series_completed(), world.requested(), world.completed())

    body = await world.answered(200)
    [url] = body["result"]["files"]["sc_key_slices"]
    read = await asyncio.to_thread(requests.get, url, timeout=10)

    assert read.content == b"bytes"
    assert "X-Amz-Expires=3600" in url
    assert (body["triage_status"], body["report"], body["result"]["limits"]) == ("Critical", [], ["Slices are thick."])
    assert "seg" not in body["result"]["files"]
    assert (await world.told(world.job()))[0][0] == "inference.completed.v1.qct.critical"


async def test_a_result_is_found_by_series_instance_and_study_and_under_both_addresses(world):
    await world.store_series()
    await world.store_instance()
    await world.store_outcome(world.job())
    await world.publish(world.series_completed(), world.requested(), world.completed())
    await world.answered(200)

    paths = [f"/results/{SERIES}", f"/results/v2/{SERIES}", f"/results/{INSTANCE}", f"/results/{STUDY}"]
    answers = [await world.get(path) for path in paths]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json()["result"]["inference_id"] for answer in answers}) == 1


async def test_what_is_uploaded_and_not_complete_is_under_process_by_the_kind_of_its_uid(world):
    await world.store_series(state="receiving", revision=0)
    await world.store_instance()

    answers = {uid: await world.get(f"/results/{uid}") for uid in (SERIES, INSTANCE, STUDY)}

    assert {answer.status_code for answer in answers.values()} == {202}
    assert answers[SERIES].json()["message"].startswith(f"Resource with SeriesInstanceUID {SERIES} is under process.")
    assert answers[INSTANCE].json()["message"].startswith(f"Resource with sopInstanceUID {INSTANCE} is under process.")
    assert answers[STUDY].json()["message"].startswith(f"Resource with StudyInstanceUID {STUDY} is under process.")
    assert answers[SERIES].json()["progress"] == 0


async def test_a_study_whose_series_was_first_sent_in_another_study_is_found_by_its_instances(world):
    await world.store_series(state="receiving", revision=0)
    await world.store_instance()
    other = f"{STUDY}.99"
    where = {"_id": record_id(world.institution, INSTANCE)}
    await world.documents[records.INSTANCES].update(where, {"$set": {"study_instance_uid": other}})

    answer = await world.get(f"/results/{other}")

    assert answer.status_code == 202
    assert answer.json()["message"].startswith(f"Resource with StudyInstanceUID {other} is under process.")


@pytest.mark.parametrize("path", ["/inferences", "/inferences/x", f"/results/{SERIES}"])
async def test_a_source_that_is_not_the_tokens_is_403_on_every_route(world, path):
    answer = await world.get(path, headers={**world.headers, "Source": "elsewhere"})

    assert answer.status_code == 403


async def test_the_progress_of_a_running_job_is_told(world):
    await world.store_job(world.job(), requested_at=datetime.now(UTC), progress=0.5)
    await world.publish(world.series_completed(), world.requested())

    async def advanced() -> float | None:
        answer = await world.get(f"/results/{SERIES}")
        return answer.json().get("progress") or None if answer.status_code == 202 else None

    assert await until(advanced, timeout_s=DEADLINE_S, what="advanced") == 0.25


async def test_images_that_cannot_be_judged_are_answered_206(world):
    await world.store_outcome(world.job(), usable=False, summary="No lungs were found.", index=99)
    await world.publish(world.series_completed(), world.requested(), world.completed())

    body = await world.answered(206)

    assert (body["usecase"], body["result"]["report"]) == ("not_implemented", "No lungs were found.")
    assert body["triage_status"] == "Routine"


async def test_a_series_without_a_use_case_is_answered_400_with_the_reason(world):
    await world.publish(world.unrouted(), world.series_completed())

    body = await world.answered(400)

    assert body == {
        "success": False,
        "message": "Use case not implemented.",
        "usecase": "not_implemented",
        "debug_info": {"reason": "qct (modality: no)"},
        "result": {},
    }


async def test_a_use_case_that_waits_for_a_request_is_answered_409_naming_how_to_ask(world):
    decision = {"use_case": "qct", "matched": True, "on_request": True}
    await world.documents[records.ROUTINGS].insert(
        {
            "_id": f"{record_id(world.institution, SERIES)}/1",
            "institution": world.institution,
            "decisions": [decision],
            "job_ids": [],
            "reason": None,
        }
    )

    await world.publish(world.series_completed())
    body = await world.answered(409)

    assert f"GET /compute/{SERIES}" in body["message"]


async def test_a_failed_job_is_answered_500_and_told_once(world):
    await world.publish(world.series_completed(), world.requested(), world.failed(), world.failed())

    body = await world.answered(500)
    told = await world.told(world.job())

    assert (body["success"], body["job"]) == (False, world.job())
    assert body["message"].endswith("the job failed: the worker was lost 3 times")
    assert {event["type"] for _, event in told} == {"radbus.inference.failed.v1"}
    assert len({event["id"] for _, event in told}) == 1


async def test_a_result_that_comes_with_a_failure_of_the_same_job_wins_in_either_order(world):
    await world.store_outcome(world.job())

    await world.publish(world.failed(), world.completed(), world.failed())
    body = await world.answered(200)

    assert body["usecase"] == "qct"


async def test_a_fact_that_comes_again_after_a_crash_finishes_what_was_begun(world):
    await world.store_outcome(world.job())
    await world.publish(world.series_completed(), world.requested(), world.completed())
    await world.answered(200)
    await world.documents[records.CASES].delete({"institution": world.institution})

    await world.publish(world.completed())
    body = await world.answered(200)

    assert body["result"]["inference_id"] == inference_id(world.job())
    assert await world.documents[records.INFERENCES].count({"institution": world.institution, "outbox": []}) == 1


async def test_an_unknown_uid_is_answered_404(world):
    answer = await world.get("/results/9.9.9")

    assert answer.status_code == 404
    message = "Resource with SeriesInstanceUID 9.9.9 is not yet uploaded!"
    assert answer.json() == {"success": False, "message": message}


async def test_no_token_is_401_and_a_source_that_is_not_the_tokens_is_403(world):
    nobody = await world.get(f"/results/{SERIES}", headers={})
    stranger = await world.get(f"/results/{SERIES}", headers={**world.headers, "Source": "elsewhere"})
    own = await world.get(f"/results/{SERIES}", headers={**world.headers, "Source": "ward"})

    assert nobody.status_code == 401
    assert nobody.json() == {"message": "Invalid token header. No credentials provided.", "authenticated": False}
    assert (stranger.status_code, stranger.json()) == (403, {"success": False, "message": "Access denied!"})
    assert own.status_code == 404


async def test_another_institution_finds_nothing(world):
    await world.store_series()
    await world.store_instance()
    await world.store_outcome(world.job())
    await world.publish(world.series_completed(), world.requested(), world.completed())
    await world.answered(200)
    token = await create_token(world.documents[TOKENS], institution=f"not-{world.institution}", name="other")
    other = {"Authorization": f"Bearer {token}"}

    paths = [f"/results/{uid}" for uid in (SERIES, INSTANCE, STUDY)] + [f"/inferences/{inference_id(world.job())}"]
    statuses = [(await world.get(path, headers=other)).status_code for path in paths]
    listed = await world.get(f"/inferences?study={STUDY}", headers=other)

    assert statuses == [404] * 4
    assert listed.json() == []


async def test_a_late_instance_hides_the_older_result_until_the_newer_revision_has_its_own(world):
    await world.store_series()
    await world.store_outcome(world.job(), summary="Of the first images.")
    await world.store_outcome(world.job(revision=2), summary="Of all images.")
    await world.publish(world.series_completed(), world.requested(), world.completed())
    await world.answered(200)

    await world.store_series(state="receiving")
    reopened = await world.get(f"/results/{SERIES}")
    await world.store_series(revision=2)
    await world.publish(world.series_completed(revision=2), world.requested(revision=2), world.failed(cancelled=True))
    await world.answered(202)
    await world.publish(world.completed(revision=2))
    body = await world.answered(200)
    older = (await world.get(f"/inferences/{inference_id(world.job())}")).json()

    assert reopened.status_code == 202
    assert body["result"]["report"] == "Of all images."
    assert older["superseded_by"] == inference_id(world.job(revision=2))


async def test_an_older_revision_that_ends_last_is_superseded_at_once(world):
    await world.store_outcome(world.job())
    await world.store_outcome(world.job(revision=2), summary="Of all images.")

    await world.publish(world.completed(revision=2))
    await world.told(world.job(revision=2))
    await world.publish(world.completed())
    await world.told(world.job())
    older = (await world.get(f"/inferences/{inference_id(world.job())}")).json()
    newer = (await world.get(f"/inferences/{inference_id(world.job(revision=2))}")).json()

    assert (older["superseded_by"], newer["superseded_by"]) == (newer["id"], None)
    assert (await world.answered(200))["result"]["report"] == "Of all images."


async def test_a_run_again_supersedes_the_first_run_of_the_same_images(world):
    first, second = world.job(), world.job(run=2)
    await world.store_job(first, requested_at=datetime(2026, 1, 1, tzinfo=UTC))
    await world.store_job(second, requested_at=datetime(2026, 1, 2, tzinfo=UTC))
    await world.store_outcome(first)
    await world.store_outcome(second, summary="Again.")

    await world.publish(world.series_completed(), world.requested(), world.completed())
    await world.answered(200)
    await world.publish(world.requested(run=2))
    await world.answered(202)
    await world.publish(world.completed(run=2))
    body = await world.answered(200)

    older = (await world.get(f"/inferences/{inference_id(first)}")).json()
    assert body["result"]["report"] == "Again."
    assert older["superseded_by"] == inference_id(second)


async def test_a_study_shows_a_critical_result_at_once_and_a_routine_one_when_all_is_done(world):
    calm, grave = "1.2.8", "1.2.9"
    for series in (SERIES, calm, grave):
        await world.store_series(series)
    await world.store_outcome(world.job(calm))
    await world.store_outcome(world.job(grave), index=50.0)
    await world.publish(*(world.series_completed(each) for each in (SERIES, calm, grave)), world.unrouted())

    await world.publish(world.requested((calm,)), world.requested((grave,)), world.completed((calm,)))
    await world.answered(200, calm)
    partly = await world.answered(202, STUDY)
    await world.publish(world.completed((grave,)))
    body = await world.answered(200, STUDY)

    assert partly["message"].startswith(f"Resource with StudyInstanceUID {STUDY}")
    assert partly["progress"] == 0.5
    assert body["triage_status"] == "Critical"
    assert [each["triage_status"] for each in body["results"]] == ["Critical", "Routine"]


async def test_a_job_on_the_whole_study_answers_for_each_of_its_series(world):
    both = (SERIES, "1.2.8")
    await world.store_outcome(world.job(STUDY))

    await world.publish(world.requested(both), world.completed(both))
    await world.publish(*(world.series_completed(each) for each in both), *(world.unrouted(each) for each in both))

    for uid in (*both, STUDY):
        body = await world.answered(200, uid)
        assert body["result"]["series_instance_uids"] == list(both)
        assert len(body["results"]) == 1


async def test_the_inference_object_has_inputs_outputs_and_an_archive_of_the_series(world):
    await world.store_series()
    for number in range(20):
        await world.store_instance(f"1.2.3.{number}", data=b"instance %d" % number)
    await world.store_outcome(world.job())
    await world.publish(world.completed())
    await world.answered(200)

    body = (await world.get(f"/inferences/{inference_id(world.job())}")).json()
    again = (await world.get(f"/inferences/{inference_id(world.job())}")).json()
    archive = await asyncio.to_thread(requests.get, body["study"]["files"][0]["url"], timeout=10)
    array = await asyncio.to_thread(
        requests.get, body["outputs"]["lungs_segmentation_array"][STUDY][SERIES], timeout=10
    )

    assert (body["model"]["name"], body["model"]["version"], body["study"]["date"]) == ("lung-ct", "1.0.0", "20260101")
    assert body["inputs"] == {"pixel_spacing": {STUDY: {SERIES: [0.5, 0.5]}}}
    assert body["outputs"]["emphysema_index"] == {STUDY: {SERIES: 3.0}}
    assert array.content == b"bytes"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as entries:
        assert sorted(entries.namelist()) == sorted(f"1.2.3.{number}.dcm" for number in range(20))
        assert entries.read("1.2.3.7.dcm") == b"instance 7"
    assert again["study"]["files"][0]["url"].partition("?")[0] == body["study"]["files"][0]["url"].partition("?")[0]
    assert len(await world.objects.keys(f"{world.institution}/archives/", limit=10)) == 1


async def test_a_series_larger_than_the_limit_has_no_archive(world):
    await world.store_instance(data=bytes(100_001))
    await world.store_outcome(world.job())
    await world.publish(world.completed())
    await world.answered(200)

    body = (await world.get(f"/inferences/{inference_id(world.job())}")).json()

    assert body["study"]["files"] == [{"study_instance_uid": STUDY, "series_instance_uid": SERIES, "url": None}]


async def test_pages_of_inferences_hold_each_one_once_newest_first(world):
    series = [f"1.2.{number}" for number in range(7)]
    for each in series:
        await world.store_outcome(world.job(each), index=50.0 if each == "1.2.5" else 1.0)
        await world.publish(world.completed((each,)))
        await world.told(world.job(each))

    pages, path = [], "/inferences?limit=3"
    while path:
        answer = await world.get(path)
        pages.append(answer.json())
        path = answer.links.get("next", {}).get("url", "").removeprefix(world.url)

    found = [each["study"]["files"][0]["series_instance_uid"] for page in pages for each in page]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert found == list(reversed(series))


async def test_inferences_are_found_by_what_they_are_of(world):
    for each, index in (("1.2.1", 1.0), ("1.2.2", 50.0)):
        await world.store_outcome(world.job(each), index=index)
        await world.publish(world.completed((each,)))
        await world.told(world.job(each))
    first = (await world.get("/inferences?series=1.2.1")).json()[0]

    async def count(**asked: str) -> int:
        return len((await world.get("/inferences", params=asked)).json())

    assert await count(study=STUDY) == 2
    assert await count(study="9") == 0
    assert await count(series="1.2.2") == 1
    assert await count(triage="Critical") == await count(triage="routine") == 1
    assert await count(model="lung-ct") == await count(model=first["model"]["id"], version="1.0.0") == 2
    assert await count(version="9") == await count(usecase="qer") == 0
    assert await count(since=first["completed_at"]) == 2
    assert await count(until=first["completed_at"]) == 0
    assert (await world.get("/inferences?cursor=nonsense")).status_code == 400


async def test_the_example_subscriber_prints_critical_findings_only(world, stack):
    environment = {**os.environ, **stack.environment()}
    critical = "1.2.77"
    await world.store_outcome(world.job(SERIES))
    await world.store_outcome(world.job(critical), index=50.0)
    subscriber = await asyncio.create_subprocess_exec(
        sys.executable, str(SUBSCRIBER), env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert subscriber.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            await subscriber.stdout.readline()  # it says that it listens
            await world.publish(world.completed((SERIES,)), world.completed((critical,)))
            line = await subscriber.stdout.readline()
    finally:
        subscriber.terminate()
        await subscriber.wait()

    assert line.decode().split() == ["critical:", "study", STUDY, "use", "case", "qct"]


async def test_no_patient_data_is_in_what_is_told(world):
    await world.store_outcome(world.job(), summary="Jane Doe has emphysema.")
    await world.publish(world.completed())

    told = await world.told(world.job())

    event = Event[Payload].parse(json.dumps(told[0][1]).encode())
    assert event.subject == inference_id(world.job())
    assert "Jane" not in json.dumps(told)
