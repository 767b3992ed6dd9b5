"""What is told when a job changes."""

from __future__ import annotations

import json
from dataclasses import replace

from radbus_contracts.facts import CompareSpec, TaskSpec
from radbus_runtime.events import Teller
from radbus_scheduler.adapters.job_documents import job_document, job_of
from radbus_scheduler.domain.changes import cancelled, succeeded
from radbus_scheduler.domain.job import Job
from radbus_scheduler.handlers.telling import messages_of

from tests.unit.scheduler.builders import T0, given, in_flight, job, planned, request_on_archive, succeeded_fact

TELLER = Teller("scheduler")
CHAIN = (TaskSpec(id="a", machine="m"), TaskSpec(id="b", machine="report", needs=("a",)))


def told(before: Job | None, after: Job) -> list[tuple[str, dict[str, object]]]:
    return [(each.routing_key, json.loads(each.body)["data"]) for each in messages_of(TELLER, before, after)]


def test_a_new_job_that_can_run_tells_nothing():
    assert told(None, job()) == []


def test_a_new_job_that_can_never_run_tells_that_it_has_failed():
    ((key, data),) = told(None, job(TaskSpec(id="a", machine="gone")))

    assert key == "job.failed.v1"
    assert (data["cancelled"], data["task_id"]) == (False, None)


def test_a_dispatched_task_is_an_order_to_its_pool_with_the_outcomes_that_it_needs():
    first = given(succeeded(in_flight(job(*CHAIN)), succeeded_fact(), T0))

    ((pool, order),) = told(first, in_flight(first, "b"))

    assert pool == "default"
    assert (order["task_id"], order["attempt"]) == ("b", 1)
    assert order["needs"] == [{"task_id": "a", "outcome_id": "job/a/1"}]


def test_the_order_of_a_task_with_several_inputs_names_the_series_of_each():
    before = job(TaskSpec(id="a", machine="m", channels={"ct": "1.2.3", "pet": "1.2.4"}))

    ((_, order),) = told(before, in_flight(before))

    assert order["channels"] == {"ct": "1.2.3", "pet": "1.2.4"}


def test_an_order_says_what_is_to_be_compared_also_when_the_job_was_written_and_read():
    asked = replace(job(TaskSpec(id="a", machine="m")), compare=CompareSpec(measurements=("volume_ml",)))
    before = job_of({**job_document(asked), "version": 1})

    ((_, order),) = told(before, in_flight(before))

    assert order["compare"] == {"against": "previous", "measurements": ["volume_ml"]}


def test_a_job_on_an_archive_is_ordered_and_ends_without_any_series():
    before = planned(request_on_archive())
    running = in_flight(before)

    ((_, order),) = told(before, running)
    ((completed, data),) = told(running, given(succeeded(running, succeeded_fact(), T0)))
    ((failed, _),) = told(running, given(cancelled(running, "not wanted", T0)))

    assert order["archive"] == "north/runs/job/upload.zip"
    assert (order["study_instance_uid"], order["series_instance_uids"]) == ("", [])
    assert (completed, data["subject_uid"], data["series_instance_uids"]) == ("job.completed.v1", "job", [])
    assert failed == "job.failed.v1"


def test_the_same_change_made_twice_tells_the_same_ids():
    before, after = job(), in_flight(job())

    assert [each.id for each in messages_of(TELLER, before, after)] == [
        each.id for each in messages_of(TELLER, before, after)
    ]


def test_the_last_success_tells_that_the_job_is_complete():
    before = in_flight(job())

    ((key, data),) = told(before, given(succeeded(before, succeeded_fact(), T0)))

    assert key == "job.completed.v1"
    assert data["outcomes"] == [{"task_id": "a", "outcome_id": "job/a/1"}]


def test_a_cancelled_job_tells_a_failure_that_is_marked_as_cancelled_and_nothing_of_what_somebody_said():
    before = in_flight(job())

    ((key, data),) = told(before, given(cancelled(before, "Doe^Jane was sent twice", T0)))

    assert key == "job.failed.v1"
    assert (data["cancelled"], data["reason"]) == (True, "on request")


def test_a_job_comes_back_from_its_record_as_it_was():
    before = in_flight(job(*CHAIN, traceparent="00-1-2-01"))
    other = planned(request_on_archive(TaskSpec(id="a", machine="m", channels={"ct": "1.2.3"})))

    assert job_of(job_document(before)) == before
    assert job_of(job_document(other)) == other


def test_a_record_of_an_earlier_version_can_still_be_read():
    document = job_document(job())
    del document["archive"], document["tasks"][0]["channels"]

    assert job_of(document) == job()


def test_a_record_with_fields_of_a_newer_version_can_still_be_read():
    document = job_document(job())
    document["tasks"][0]["colour"] = "blue"

    assert job_of(document) == job()
