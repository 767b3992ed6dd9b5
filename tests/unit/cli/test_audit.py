"""What an audit tells and finds, from records as the services write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from radbus_cli.audit_entries import Entry, entries_of, size
from radbus_cli.audit_findings import findings_of
from radbus_cli.audit_records import Records, Stored
from radbus_cli.audit_stores import Around, Kept
from radbus_cli.audit_subjects import Kind, Subject
from radbus_cli.dead_letters import DeadLetter
from radbus_cli.dead_queues import QueueState
from radbus_contracts.identity import inference_id

T0 = datetime(2026, 11, 20, 10, tzinfo=UTC)
STUDY, SERIES, JOB = "1.2", "1.2.3", "job-1"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def series(**changes: Any) -> dict[str, Any]:
    own = {"_id": f"north/{SERIES}", "study_instance_uid": STUDY, "series_instance_uid": SERIES, "state": "complete"}
    return {**own, "quiet_at": at(5), "revision": 1, "outbox": [], **changes}


def routing(**changes: Any) -> dict[str, Any]:
    matched = {"use_case": "qct", "matched": True, "on_request": False, "runs": 1, "conditions": []}
    own = {"_id": f"north/{SERIES}/1", "scope": "series", "subject_uid": SERIES, "revision": 1, "job_ids": [JOB]}
    return {**own, "reason": None, "decided_at": at(6), "decisions": [matched], "outbox": [], **changes}


def task(state: str = "succeeded", **changes: Any) -> dict[str, Any]:
    ended = state in {"succeeded", "failed", "cancelled"}
    own = {"id": "lungs", "pool": "default", "state": state, "attempt": 1, "worker": "worker-0", "progress": 0.5}
    times = {"ready_at": at(7), "dispatched_at": at(8), "started_at": at(9), "finished_at": at(20) if ended else None}
    outcome = f"{JOB}/lungs/1" if state == "succeeded" else None
    return {**own, **times, "outcome_id": outcome, "reason": None, **changes}


def job(state: str = "completed", *tasks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    own = {"_id": JOB, "use_case": "qct", "study_instance_uid": STUDY, "series_instance_uids": [SERIES]}
    own |= {
        "subject_uid": SERIES,
        "revision": 1,
        "priority": "routine",
        "state": state,
        "tasks": list(tasks) or [task()],
    }
    ended = None if state == "active" else at(21)
    times = {"requested_at": at(7), "finish_by": at(3600), "finished_at": ended}
    return {**own, **times, "reason": None, "archive": None, "retries": 0, "outbox": [], **changes}


def outcome(**changes: Any) -> dict[str, Any]:
    own = {"_id": f"{JOB}/lungs/1", "job_id": JOB, "task_id": "lungs", "attempt": 1, "worker": "worker-0"}
    told = {"succeeded": True, "reason": None, "usable": True, "files": {"seg": ["a"]}, "outbox": []}
    return {**own, **told, "started_at": at(9), "finished_at": at(19), **changes}


def inference(**changes: Any) -> dict[str, Any]:
    own = {"_id": inference_id(JOB), "job_id": JOB, "use_case": "qct", "revision": 1, "triage": "routine"}
    return {**own, "usable": True, "completed_at": at(22), "superseded_by": None, "outbox": [], **changes}


def case(**jobs: Any) -> dict[str, Any]:
    uploads = {"1": {"instance_count": 40, "completed_at": at(5)}}
    told = jobs or {JOB: {"completed": {"inference_id": inference_id(JOB)}}}
    return {"_id": f"north/{SERIES}", "series_instance_uid": SERIES, "uploads": uploads, "jobs": told, "outbox": []}


def whole(**changes: Any) -> Records:
    """A study of one series that came out well, seen an hour later."""
    stored = Stored(series=SERIES, study=STUDY, count=40, size_bytes=21_000_000, first_at=at(0), last_at=at(4))
    well: dict[str, Any] = {
        "stored": [stored],
        "series": [series()],
        "routings": [routing()],
        "jobs": [job()],
        "outcomes": [outcome()],
        "inferences": [inference()],
        "cases": [case()],
    }
    return Records(subject=Subject("north", Kind.STUDY, STUDY, STUDY), now=at(3000), **{**well, **changes})


def around(**changes: Any) -> Around:
    queues = {"router.series-completed": QueueState(3, 0), "results.job-completed": QueueState(0, 2)}
    return Around(**{"queues": {**queues, "worker.default": QueueState(1, 1)}, **changes})


def texts(read: Records, seen: Around | None = None) -> list[str]:
    return [finding.text for finding in findings_of(read, seen or around())]


def letter(reason: str = "PermanentError: no") -> DeadLetter:
    return DeadLetter("m-1", "router.series-completed", reason, "radbus.series.completed.v1", SERIES, 5, at(6), 0, 300)


def test_a_study_that_came_out_is_told_in_order_of_time_and_nothing_is_found():
    read, seen = whole(), around()

    told = [(entry.service, entry.what.partition(",")[0]) for entry in entries_of(read, seen)]

    assert told == [
        ("ingest", "first of 40 instances stored"),
        ("ingest", "last of 40 instances stored"),
        ("ingest", "series complete with 40 instances"),
        ("router", "routed: qct matches"),
        ("scheduler", "job of qct made"),
        ("scheduler", "task ready for pool default"),
        ("scheduler", "task dispatched to pool default"),
        ("worker", "attempt started"),
        ("worker", "attempt succeeded"),
        ("scheduler", "task succeeded"),
        ("scheduler", "job completed"),
        ("results", "inference of qct recorded"),
    ]
    assert findings_of(read, seen) == []


@pytest.mark.parametrize(
    ("changes", "what", "gap"),
    [
        ({}, "webhook told inference.completed.v1, 2 attempts", False),
        ({"state": "failed"}, "not told inference.completed.v1, given up after 2 attempts: answered 500", True),
        ({"state": "failed", "reason": "the webhook was removed"}, "given up after 2 attempts: the webhook was", False),
        ({"state": "waiting", "ended_at": None}, "not told inference.completed.v1 yet, 2 attempts: answered", False),
    ],
)
def test_what_a_webhook_was_told_or_not_is_said(changes, what, gap):
    told = {"webhook_id": "w", "event_id": "e", "type": "radbus.inference.completed.v1", "attempts": 2}
    ended = {"state": "delivered", "reason": "answered 500", "asked_at": at(23), "ended_at": at(30)}

    entries = entries_of(whole(deliveries=[told | ended | changes]), around())

    asked, result = [entry for entry in entries if "webhook" in entry.what]
    assert "to be told" in asked.what
    assert what in result.what
    assert result.gap is gap


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"series": []}, "no record of the series"),
        ({"series": [series(state="receiving")]}, "nobody has completed it"),
        ({"routings": []}, "no routing: queue router.series-completed has 3 messages and 0 consumers"),
        ({"routings": [routing(job_ids=[JOB, "job-2"])]}, "job job-2 asked for at 2026-11-20 10:00:06, and never made"),
        ({"inferences": []}, "no inference: queue results.job-completed has 0 messages and 2 consumers"),
        ({"cases": [case(other={})]}, "is not in the case that /results reads"),
        ({"outcomes": []}, "task lungs has succeeded, and there is no outcome of it"),
        (
            {"series": [series(outbox=[{"type": "radbus.series.completed.v1", "at": at(5)}])]},
            "radbus.series.completed.v1 stands untold in the outbox since 2026-11-20 10:00:05",
        ),
        ({"jobs": [job("active", task("ready"))]}, "waits for pool default (0 workers known, 0 of 0 slots busy)"),
        ({"jobs": [job("active", task("dispatched"))]}, "an outcome that the scheduler has not heard of"),
        (
            {"jobs": [job("active", task("dispatched"))], "outcomes": []},
            "no worker has it: queue worker.default has 1 messages and 1 consumers",
        ),
        ({"jobs": [job("active", task("ready"), finish_by=at(9))]}, "its deadline has passed"),
        ({"jobs": [job("failed", task("failed"), reason="task lungs: no memory")]}, "failed: task lungs: no memory"),
    ],
)
def test_what_is_missing_is_found_with_where_it_hangs(changes, found):
    assert any(found in text for text in texts(whole(**changes))), texts(whole(**changes))


def test_a_lease_says_who_has_a_task_and_one_that_has_run_out_that_its_worker_may_be_dead():
    running = {"jobs": [job("active", task("running"))], "outcomes": [], "inferences": []}
    held = {"attempt": 1, "worker": "worker-1", "released": False}

    [lives] = texts(whole(**running, leases={f"{JOB}/lungs": {**held, "until": at(3005)}}))
    [dead] = findings_of(whole(**running, leases={f"{JOB}/lungs": {**held, "until": at(30)}}), around())

    assert "is held by worker-1 until 2026-11-20 10:50:05, 50 % done" in lives
    assert dead.advice == "did worker-1 die? radbus doctor"


def test_a_series_that_no_use_case_is_for_and_one_that_waits_to_be_asked_for_are_said():
    later = {"use_case": "later", "matched": True, "on_request": True, "runs": 0, "conditions": []}
    unrouted = routing(decisions=[], job_ids=[], reason="No use case matches: qct (modality: no).")

    [none] = texts(whole(jobs=[], inferences=[], outcomes=[], routings=[unrouted]))
    [waits] = findings_of(whole(routings=[routing(decisions=[later])]), around())

    assert none == f"{SERIES}: no job. No use case matches: qct (modality: no)."
    assert waits.advice == f"radbus compute {SERIES}"


def test_a_failure_is_to_be_retried_unless_something_newer_stands_in_its_place():
    lost = job("failed", task("failed"), reason="no memory")
    again = job(_id="job-2", requested_at=at(100))

    [finding] = findings_of(whole(jobs=[lost], inferences=[]), around())
    overtaken = texts(whole(jobs=[lost, again], inferences=[inference(_id=inference_id("job-2"))]))

    assert finding.advice == f"radbus jobs retry {JOB}"
    assert not [text for text in overtaken if "failed" in text]


def test_a_failure_of_which_outputs_were_erased_is_told_and_no_retry_is_advised():
    lost = job("failed", task(), task("failed", id="report"), reason="no memory")

    [finding] = findings_of(whole(jobs=[lost], inferences=[], outcomes=[outcome(erased_at=at(50))]), around())

    assert "failed: no memory" in finding.text
    assert finding.advice is None


def test_objects_that_are_missing_are_found_unless_they_were_erased_on_purpose():
    lost = Kept(what="instances", of=SERIES, count=39, size_bytes=9, last_at=at(4), recorded=40, missing=("k/1", "k/2"))

    [found] = texts(whole(), around(kept=[lost]))
    gaps = [entry.what for entry in entries_of(whole(), around(kept=[lost])) if entry.gap]

    assert found == f"instances of {SERIES}: object missing in the store: k/1 and 1 more"
    assert gaps == ["instances: 39 objects in the store, 9 bytes; 2 missing, 0 of another size"]
    assert texts(whole(series=[series(state="erased")]), around(kept=[lost])) == []


def test_a_dead_letter_that_names_it_is_told_at_its_time_and_can_be_replayed():
    seen = around(letters=[letter()])

    [finding] = findings_of(whole(), seen)
    [gap] = [entry for entry in entries_of(whole(), seen) if entry.gap]

    assert finding.advice == "radbus dead replay m-1 --queue router.series-completed"
    assert (gap.at, gap.service) == (at(6), "router")


def test_a_server_that_is_away_is_said_and_the_rest_is_told():
    seen = around(queues={}, away=["object store: connection refused"])

    assert "a server did not answer" in texts(whole(), seen)[0]
    assert len(entries_of(whole(), seen)) == 12


def test_nobodys_words_about_a_cancelled_job_are_told():
    stopped = job("cancelled", task("cancelled"), reason="Jane Doe is not to be seen")
    superseded = job("cancelled", task("cancelled"), reason="superseded by revision 2")

    for words, told in ((stopped, "on request"), (superseded, "superseded by revision 2")):
        read = whole(jobs=[words], inferences=[])
        printed = json.dumps([each.document() for each in (*entries_of(read, around()), *findings_of(read, around()))])
        assert told in printed
        assert "Jane" not in printed


def test_an_access_is_told_with_who_and_from_where_whatever_else_its_record_has():
    access = {
        "_id": "a",
        "at": at(60),
        "event": {"id": "110112", "action": "R", "outcome": 8},
        "participants": [{"user": "pacs", "is_requestor": True, "address": "10.0.0.7"}],
        "source": {"service": "results"},
        "objects": [{"kind": "study", "uid": STUDY}, {"kind": "patient", "uid": "elsewhere"}],
    }

    told = entries_of(whole(accesses=[access, {"_id": "b", "at": at(61)}]), around())[-2:]

    assert told[0] == Entry(at(60), "results", "read by pacs from 10.0.0.7, outcome 8", {"study": STUDY})
    assert told[1].what == "used by unknown"


def test_a_run_on_an_archive_is_told_and_one_whose_zip_is_still_there_is_found():
    run = {"_id": JOB, "model_id": "m:1", "size_bytes": 9, "started_at": at(0), "ended_at": None, "outbox": []}
    on_archive = job(series_instance_uids=[], archive="north/runs/job-1/upload.zip")
    subject = Subject("north", Kind.RUN, JOB, job=JOB)

    def seen(**changes: Any) -> Records:
        return Records(
            subject=subject, now=at(3000), jobs=[on_archive], runs=[{**run, **changes}], outcomes=[outcome()]
        )

    assert texts(seen()) == ["run job-1: its job is completed, and its zip is not yet erased"]
    assert texts(seen(ended_at=at(30))) == []
    assert [entry.what for entry in entries_of(seen(ended_at=at(30)), around())][-1] == "uploaded zip erased"


@pytest.mark.parametrize(("count", "said"), [(999, "999 bytes"), (1500, "1.5 kB"), (21_000_000, "21.0 MB")])
def test_a_size_is_said_as_a_person_does(count, said):
    assert size(count) == said
