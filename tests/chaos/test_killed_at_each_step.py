"""Each service, killed by SIGKILL before and after each of its steps: what was accepted ends, each once.

The table of the steps is in `moments`. A client sends until it is answered; the others need do nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from radbus_contracts.identity import event_id
from radbus_contracts.topology import INFERENCE_FAILED
from radbus_runtime.webhooks.subscriptions import Webhooks
from radbus_storage import records
from radbus_storage.documents import Document, Documents
from radbus_testing.programs import settings_of
from radbus_testing.receiver import WebhookReceiver
from radbus_testing.waiting import until

from tests.chaos import moments
from tests.chaos.books import Accepted, read
from tests.chaos.ledger import settle
from tests.chaos.victims import Victim, dying, until_answered, victim_of
from tests.contract.innereye_gateway import archive

pytestmark = pytest.mark.stack

RUNNING_S = 240
BALANCED_S = 120
READY_S = 120
ERASED_S = 40
MODEL = "sleeper:1.0.0"
STUDY_USE_CASES = Path(__file__).parents[1] / "site" / "study_use_cases"
# What is lost is missed sooner than in a hospital.
SETTINGS = {
    "worker": {"RADBUS_LEASE_S": "2", "RADBUS_RENEW_EVERY_S": "0.5"},
    "results": {"RADBUS_WEBHOOK_DEADLINE_S": "1"},
    "ingest": {"RADBUS_RUN_ERASE_AFTER_S": "10", "RADBUS_RUN_SWEEP_EVERY_S": "1"},
}
SERIES = {
    "ingest-takes": moments.INGEST_TAKES,
    "ingest-completes-a-series": moments.INGEST_COMPLETES_A_SERIES,
    "ingest-completes-a-study": moments.INGEST_COMPLETES_A_STUDY,
    "router-routes": moments.ROUTER_ROUTES,
    "router-acknowledges": moments.ROUTER_ACKNOWLEDGES,
    "scheduler-begins": moments.SCHEDULER_BEGINS,
    "scheduler-ends": moments.SCHEDULER_ENDS,
    "worker-claims": moments.WORKER_CLAIMS,
    "worker-infers": moments.WORKER_INFERS,
    "worker-stores": moments.WORKER_STORES,
    "worker-records": moments.WORKER_RECORDS,
    "worker-tells": moments.WORKER_TELLS,
    "results-record": moments.RESULTS_RECORD,
    "results-tell": moments.RESULTS_TELL,
    "results-acknowledge": moments.RESULTS_ACKNOWLEDGE,
}
UNROUTED = {
    "router-finds-none": moments.ROUTER_FINDS_NONE,
    "results-record-none": moments.RESULTS_RECORD_NONE,
}
FAILURES = {"worker-fails": moments.WORKER_FAILS, "results-fail": moments.RESULTS_FAIL}
RETRIES = {
    "scheduler-retries": moments.SCHEDULER_RETRIES,
    "results-note-a-retry": moments.RESULTS_NOTE_A_RETRY,
}


@pytest.fixture(scope="module")
def victims(radbus, tmp_path_factory) -> Iterator[Callable[..., Victim]]:
    """Give a service to be killed, in the place of the stack's own; the one before it is the stack's own again."""
    folder = tmp_path_factory.mktemp("victims")
    current: dict[tuple[str, ...], Victim] = {}
    with ExitStack() as opened:

        def give(service: str, **settings: str) -> Victim:
            key = (service, *settings.values())
            if key not in current:
                opened.close()
                current.clear()
                radbus.wait_until_ready(timeout_s=READY_S)
                names = ("worker-0", "worker-1") if service == "worker" else (service,)
                settings = {**SETTINGS.get(service, {}), **settings}
                current[key] = opened.enter_context(victim_of(radbus, *names, folder=folder, settings=settings))
                current[key].program.start()
            return current[key]

        yield give
    radbus.wait_until_ready(timeout_s=READY_S)


def ask_job(hospital, job_id: str, what: str) -> httpx2.Response:
    """Ask that a job be cancelled or retried."""
    return hospital.http.post(hospital.url(f"/jobs/{job_id}/{what}"), headers=hospital.headers)


async def job_in(hospital, state: str) -> str:
    """Wait until this hospital's job has its task in a state; return its id."""

    async def found() -> str | None:
        answer = await asyncio.to_thread(hospital.get, "/jobs")
        jobs = answer.json()["jobs"] if answer.status_code == 200 else []  # it is still starting
        return next((job["id"] for job in jobs if job["tasks"][0]["state"] == state), None)

    return await until(found, timeout_s=RUNNING_S, what=f"{state} job")


@pytest.mark.parametrize("story", SERIES)
async def test_a_series_comes_to_its_one_result_whoever_dies_at_whichever_step(
    victims, hospital, make_sleepy, told, balanced, story
):
    victim = victims(story.partition("-")[0])
    series = [make_sleepy(10) for _ in range(1 if story.startswith("worker") else 3)]

    answers = await dying(
        victim,
        SERIES[story],
        *(lambda each=each: hospital.post_upload(each.instances, source="sleepy") for each in series),
    )

    assert answers == [200] * len(series)
    books = await balanced(series, told=told, timeout_s=BALANCED_S)
    assert books.states() == {"completed": len(series)}
    assert len(books[records.INFERENCES]) == len(series)


@pytest.mark.parametrize("story", UNROUTED)
async def test_that_no_use_case_is_for_a_series_is_said_and_told_once_whoever_dies_at_whichever_step(
    victims, hospital, make_sleepy, told, balanced, story
):
    victim = victims(story.partition("-")[0])
    series = make_sleepy(0)

    answers = await dying(victim, UNROUTED[story], lambda: hospital.post_upload(series.instances))

    assert answers == [200]
    books = await balanced([series], told=told, timeout_s=BALANCED_S)
    (routing,) = books[records.ROUTINGS].values()
    assert books.case(series.uid)["unrouted"] == {"1": routing["reason"]}
    assert books.states() == {}


async def test_a_study_comes_to_its_one_result_wherever_the_router_dies(victims, hospital, make_sleepy, told, balanced):
    victim = victims("router", RADBUS_SITE_USE_CASES_DIR=str(STUDY_USE_CASES))
    series = make_sleepy(10)

    answers = await dying(
        victim, moments.ROUTER_ROUTES_A_STUDY, lambda: hospital.post_upload(series.instances, source="whole")
    )

    assert answers == [200]
    books = await balanced([series], told=told, timeout_s=BALANCED_S)
    assert {each["subject_uid"] for each in books[records.ROUTINGS].values()} == {series.uid, series.study}
    assert [each["subject_uid"] for each in books[records.INFERENCES].values()] == [series.study]


@pytest.mark.parametrize("steps", [moments.INGEST_STARTS_A_RUN, moments.INGEST_ERASES_A_RUN], ids=["starts", "erases"])
async def test_a_run_is_done_once_and_no_zip_is_left_wherever_ingest_dies(victims, hospital, make_sleepy, told, steps):
    victim = victims("ingest")
    body = archive({"ct": make_sleepy(0).instances})
    started: list[str] = []

    def start() -> httpx2.Response:
        headers = {"API_AUTH_SECRET": hospital.token}
        answer = hospital.http.post(hospital.url(f"/v1/model/start/{MODEL}"), headers=headers, content=body)
        started.append(answer.text)
        return answer

    answers = await dying(victim, steps, start)

    assert answers == [201]
    accepted = Accepted(runs={started[-1]})
    books = await settle(hospital.stack.environment(), hospital.institution, accepted, told=told, timeout_s=BALANCED_S)
    assert books.states() == {"completed": 1}
    assert list(books[records.JOBS]) == started[-1:]

    async def erased() -> bool | None:
        left = await read(hospital.stack.environment(), hospital.institution)
        return not [key for key in left.keys if "/runs/" in key] or None  # what came of it stays

    await until(erased, timeout_s=ERASED_S, what="store without a zip")


async def test_what_was_asked_for_is_computed_once_wherever_the_router_dies(
    victims, hospital, make_series, told, balanced
):
    victim = victims("router")
    series = make_series(body_part="SHOULDER", study_description="CT shoulder")
    await asyncio.to_thread(hospital.upload, series.instances)
    waits = await asyncio.to_thread(hospital.result, series.uid)

    answers = await dying(victim, moments.ROUTER_IS_ASKED, lambda: hospital.get(f"/compute/{series.uid}"))

    assert waits.status_code == 409
    assert answers[0] in (200, 304)  # 304: it was pushed by the request that had no answer
    books = await balanced([series], told=told, timeout_s=BALANCED_S)
    assert books.states() == {"completed": 1}


async def test_a_cancelled_job_stays_cancelled_wherever_the_scheduler_dies(
    victims, hospital, make_sleepy, told, balanced
):
    victim = victims("scheduler")
    series = make_sleepy(20_000)
    await asyncio.to_thread(hospital.upload, series.instances, source="sleepy")

    job_id = await job_in(hospital, "running")

    answers = await dying(victim, moments.SCHEDULER_CANCELS, lambda: ask_job(hospital, job_id, "cancel"))

    assert answers == [202]
    books = await balanced([series], told=told, timeout_s=BALANCED_S)
    assert books.states() == {"cancelled": 1}


@pytest.mark.parametrize("story", RETRIES)
async def test_a_job_that_is_retried_goes_on_once_whoever_dies_at_whichever_step(
    victims, hospital, make_sleepy, told, balanced, story
):
    victim = victims(story.partition("-")[0])
    series = make_sleepy(5000)
    await asyncio.to_thread(hospital.upload, series.instances, source="sleepy")
    job_id = await job_in(hospital, "running")
    cancelled = await asyncio.to_thread(until_answered, lambda: ask_job(hospital, job_id, "cancel"))

    answers = await dying(victim, RETRIES[story], lambda: ask_job(hospital, job_id, "retry"))

    assert [cancelled.status_code, *answers] == [202, 202]
    books = await balanced([series], told=told, timeout_s=BALANCED_S)
    assert books.states() == {"completed": 1}
    assert books[records.JOBS][job_id]["retries"] == 1


async def test_a_webhook_is_told_of_a_result_wherever_the_results_service_dies(
    victims, hospital, make_sleepy, told, balanced
):
    victim = victims("results")
    series = make_sleepy(10)
    documents = Documents(settings_of(hospital.stack.environment()).documents)
    with WebhookReceiver() as receiver:
        webhook = await Webhooks(documents).add(hospital.institution, receiver.url)

        answers = await dying(
            victim, moments.RESULTS_CALL, lambda: hospital.post_upload(series.instances, source="sleepy")
        )

        async def delivered() -> list[Document] | None:
            found = await documents[records.DELIVERIES].find({"webhook_id": webhook.id}, limit=10)
            return found if [each["state"] for each in found] == ["delivered"] else None

        (delivery,) = await until(delivered, timeout_s=BALANCED_S, what="one delivery that has ended")
        called = {call.headers["webhook-id"] for call in receiver.calls}
    documents.close()

    assert answers == [200]
    books = await balanced([series], told=told, timeout_s=BALANCED_S)
    assert called == {event_id("inference.completed", each) for each in books[records.INFERENCES]}
    assert called == {delivery["event_id"]}
    assert delivery["attempts"] >= 3


@pytest.mark.parametrize("story", FAILURES)
async def test_a_failure_is_told_once_whoever_dies_at_whichever_step(
    victims, hospital, make_sleepy, told, balanced, story
):
    victim = victims(story.partition("-")[0])
    series = make_sleepy(10)

    answers = await dying(victim, FAILURES[story], lambda: hospital.post_upload(series.instances, source="broken"))

    assert answers == [200]
    books = await balanced([series], told=told, timeout_s=BALANCED_S)
    assert books.states() == {"failed": 1}
    assert {event["id"] for event in told if event["type"] == INFERENCE_FAILED.type} == {
        event_id("inference.failed", job_id) for job_id in books[records.JOBS]
    }
