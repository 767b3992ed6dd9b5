"""Where a series stands and what was found, from facts that come in any order and twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from radbus_contracts.envelope import Event, Payload
from radbus_contracts.identity import inference_id, record_id
from radbus_runtime.auth.tokens import create_token
from radbus_storage import records
from radbus_storage.records import TOKENS
from radbus_testing.waiting import until

from tests.integration.results.world import DEADLINE_S, INSTANCE, SERIES, STUDY

pytestmark = pytest.mark.stack

SUBSCRIBER = Path(__file__).parents[3] / "examples" / "subscribers" / "critical_findings.py"
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


async def test_a_use_case_that_waits_for_a_request_is_answered_409_once_it_is_known_that_nobody_has_asked(world):
    decision = {"use_case": "qct", "matched": True, "on_request": True}
    routing_id = f"{record_id(world.institution, SERIES)}/1"
    await world.documents[records.ROUTINGS].insert(
        {
            "_id": routing_id,
            "institution": world.institution,
            "decisions": [decision],
            "job_ids": [],
            "reason": None,
            "wishes_seen": False,
        }
    )

    await world.publish(world.series_completed())
    await world.answered(202)
    await world.documents[records.ROUTINGS].update({"_id": routing_id}, {"$set": {"wishes_seen": True}})
    body = await world.answered(409)

    assert f"GET /compute/{SERIES}" in body["message"]


async def test_a_series_for_which_only_its_study_may_be_asked_for_is_answered_409_naming_the_study(world):
    newest, earlier = [{"matched": True, "on_request": True}], [{"matched": False, "on_request": True}]
    for revision, decisions in ((2, newest), (1, earlier)):
        await world.documents[records.ROUTINGS].insert(
            {
                "_id": f"{record_id(world.institution, STUDY)}/{revision}",
                "institution": world.institution,
                "subject_uid": STUDY,
                "revision": revision,
                "decisions": decisions,
                "job_ids": [],
                "reason": None if decisions is newest else "qct (modality: no)",
            }
        )

    await world.publish(world.unrouted(), world.series_completed())
    bodies = [await world.answered(409, uid) for uid in (SERIES, STUDY)]

    assert all(f"GET /compute/{STUDY}" in body["message"] for body in bodies)


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


async def test_a_job_on_an_uploaded_archive_makes_no_case_no_inference_and_no_error(world, results_log):
    archive = {
        "use_case": "inner-eye",
        "study_instance_uid": "",
        "series_instance_uids": (),
        "subject_uid": str(uuid.uuid4()),
        "revision": 1,
    }
    requested, completed, failed = (
        message(job_id=str(uuid.uuid4()), **archive)
        for message in (world.archive_requested, world.archive_completed, world.archive_failed)
    )

    await world.store_outcome(world.job())
    await world.publish(requested, completed, failed, world.requested(), world.failed(), world.completed())
    await world.answered(200)  # each queue was read in order

    own = {"institution": world.institution}
    assert await world.documents[records.CASES].count(own) == await world.documents[records.INFERENCES].count(own) == 1
    lines = [json.loads(line) for line in results_log.read_text().splitlines()]
    ids = {requested.id, completed.id, failed.id}
    assert not [line for line in lines if line["level"] != "info" and line.get("message_id") in ids]
