"""The count that ends every test of a fault must itself be able to fail."""

from __future__ import annotations

from copy import deepcopy

import pytest
from radbus_contracts.identity import event_id
from radbus_storage import records

from tests.chaos.books import Accepted, Books
from tests.chaos.ledger import imbalances

SERIES = {
    "_id": "h/1.2",
    "series_instance_uid": "1.2",
    "state": "complete",
    "revision": 1,
    "instance_count": 1,
    "outbox": [],
}
BALANCED = {
    records.INSTANCES: {
        "h/1.2.3": {"sop_instance_uid": "1.2.3", "series_instance_uid": "1.2", "object_key": "k", "size_bytes": 5}
    },
    records.SERIES: {"h/1.2": SERIES},
    records.STUDIES: {"h/1": {"_id": "h/1", "study_instance_uid": "1", "state": "complete", "revision": 1}},
    records.RUNS: {},
    records.ROUTINGS: {
        "h/1.2/1": {"scope": "series", "subject_uid": "1.2", "revision": 1, "job_ids": ["j"], "reason": None}
    },
    records.JOBS: {
        "j": {
            "state": "completed",
            "use_case": "qct",
            "series_instance_uids": ["1.2"],
            "reason": None,
            "retries": 0,
            "tasks": [],
        }
    },
    records.OUTCOMES: {"j/t/1": {"_id": "j/t/1", "files": {"json": ["o"]}}},
    records.INFERENCES: {"i": {"job_id": "j", "use_case": "qct", "subject_uid": "1.2", "superseded_by": None}},
    records.CASES: {
        "h/1.2": {"uploads": {"1": {}}, "jobs": {"j": {"requested_at": 1, "completed": {"inference_id": "i"}}}}
    },
}


def event(fact, _id, **data):
    return {"type": f"radbus.{fact}.v1", "id": _id, "data": data}


TOLD = [
    event("series.completed", "1", series_instance_uid="1.2", revision=1),
    event("study.completed", "2", study_instance_uid="1", revision=1),
    event("job.requested", "3", job_id="j"),
    event("job.completed", "4", job_id="j"),
    event("inference.completed", "5", inference_id="i"),
]
ACCEPTED = Accepted({"1.2.3": 5})


def books(documents=BALANCED, objects=(("k", 5), ("o", 9))) -> Books:
    return Books("h", documents, dict(objects), frozenset(dict(objects)), ())


def changed(collection, key, **fields):
    documents = deepcopy(BALANCED)
    documents[collection][key] = {**documents[collection].get(key, {}), **fields}
    return documents


def without(collection, key):
    documents = deepcopy(BALANCED)
    del documents[collection][key]
    return documents


def test_books_in_which_all_that_was_accepted_has_ended_once_balance():
    assert imbalances(books(), ACCEPTED, told=TOLD) == []


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (without(records.INSTANCES, "h/1.2.3"), "lost: instance"),
        (without(records.SERIES, "h/1.2"), "lost: series"),
        (changed(records.SERIES, "h/1.2", state="receiving"), "hangs: h/1.2"),
        (changed(records.SERIES, "h/1.2", instance_count=2), "lost: series"),
        (changed(records.SERIES, "h/1.2", revision=2), "lost: revision 2"),
        (without(records.CASES, "h/1.2"), "lost: series"),
        (without(records.JOBS, "j"), "lost: job"),
        (changed(records.ROUTINGS, "h/1.2/1", job_ids=["j", "j"]), "double: job"),
        (changed(records.ROUTINGS, "h/1.2/1", job_ids=[]), "double: nobody asked"),
        (changed(records.JOBS, "j", state="active"), "hangs: job"),
        (changed(records.JOBS, "j", state="failed"), "unsaid: job"),
        (without(records.INFERENCES, "i"), "lost: job"),
        (changed(records.INFERENCES, "i2", **BALANCED[records.INFERENCES]["i"]), "double: job"),
        (changed(records.OUTCOMES, "j/t/1", outbox=[{}]), "untold: outcomes"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_books_that_do_not_balance_say_where(documents, said):
    found = imbalances(books(documents), ACCEPTED)

    assert any(each.startswith(said) for each in found), found


def test_objects_that_are_gone_or_cut_are_missed():
    assert any(each.startswith("lost: the object") for each in imbalances(books(objects={"k": 4, "o": 9}), ACCEPTED))
    assert any(each.startswith("lost: outcome") for each in imbalances(books(objects={"k": 5, "o": None}), ACCEPTED))


def failed_books(*, retries=0, failed=None, **job):
    """A job that has failed once and again after each retry, and what its case says of that."""
    documents = changed(records.JOBS, "j", state="failed", reason="x", retries=retries, **job)
    documents[records.INFERENCES] = {}
    entry = {"requested_at": 1, "retries": retries, **({"failed": failed} if failed else {})}
    documents[records.CASES]["h/1.2"]["jobs"]["j"] = entry
    return documents


def unrouted_books(reason=None):
    """A series that no use case is for, and what its case says of that."""
    documents = changed(records.ROUTINGS, "h/1.2/1", job_ids=[], reason="no use case")
    documents |= {records.JOBS: {}, records.INFERENCES: {}, records.OUTCOMES: {}}
    documents[records.CASES]["h/1.2"] = {"uploads": {"1": {}}, **({"unrouted": {"1": reason}} if reason else {})}
    return documents


COMPLETED = TOLD[:2]
UNROUTED = [*COMPLETED, event("series.unrouted", "6", series_instance_uid="1.2", revision=1)]
REQUESTED = TOLD[:3]
FAILED = [*REQUESTED, event("job.failed", "7", job_id="j", retries=0)]
ONCE = {"reason": "x", "cancelled": False, "retries": 0}
AGAIN = {"reason": "x", "cancelled": False, "retries": 1}
TOLD_ONCE = event("inference.failed", event_id("inference.failed", "j"), job_id="j")
TOLD_AGAIN = event("inference.failed", event_id("inference.failed", "j", "1"), job_id="j")
RETRIED = [*FAILED, event("job.retried", "8", job_id="j", retries=1), event("job.failed", "9", job_id="j", retries=1)]


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        (failed_books(failed=ONCE), [*FAILED, TOLD_ONCE, TOLD_ONCE]),
        (failed_books(retries=1, failed=AGAIN), [*RETRIED, TOLD_ONCE, TOLD_AGAIN]),
        (failed_books(retries=1, failed=AGAIN), [*RETRIED, TOLD_AGAIN]),
        (unrouted_books("no use case"), UNROUTED),
    ],
    ids=["failed", "failed twice", "failed twice, the first time unheard", "unrouted"],
)
def test_books_in_which_all_has_ended_without_a_result_balance_when_each_is_said_and_told(documents, told):
    assert imbalances(books(documents), ACCEPTED, told=told) == []


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (failed_books(), "does not say that job j is failed"),
        (failed_books(retries=1, failed=ONCE), "does not say that job j is failed"),
        (failed_books(failed={**ONCE, "cancelled": True}), "does not say that job j is failed"),
        (failed_books(failed={**ONCE, "reason": ""}), "does not say that job j is failed"),
        (unrouted_books(), "does not say why revision 1"),
        (unrouted_books("another"), "does not say why revision 1"),
        (changed(records.CASES, "h/1.2", jobs={}), "does not say that job j has completed"),
        (changed(records.CASES, "h/1.2", jobs={}), "does not say that job j was asked for"),
        (changed(records.CASES, "h/1.2", uploads={}), "has no upload 1"),
        (changed(records.JOBS, "j", retries=1), "does not say that job j was retried 1 times"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_case_that_does_not_say_what_has_become_of_its_series_is_missed(documents, said):
    found = imbalances(books(documents), ACCEPTED)

    assert any(each.startswith("unsaid: the case of series 1.2") and said in each for each in found), found


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        (BALANCED, TOLD),
        (failed_books(retries=1, failed=AGAIN), [*RETRIED, TOLD_AGAIN]),
        (unrouted_books("no use case"), UNROUTED),
    ],
    ids=["completed", "failed twice", "unrouted"],
)
def test_each_fact_that_no_subscriber_heard_is_missed_and_one_told_as_two_events_is_double(documents, told):
    for fact in told:
        name = fact["type"].removeprefix("radbus.")
        untold = imbalances(books(documents), ACCEPTED, told=[each for each in told if each is not fact])
        double = imbalances(books(documents), ACCEPTED, told=[*told, {**fact, "id": "another"}])

        assert any(each.startswith(f"untold: {name}") for each in untold), name
        assert any(each.startswith(f"double: {name}") for each in double), name


def test_what_is_told_and_not_written_is_double():
    strange = [event("inference.completed", "9", inference_id="k"), event("inference.failed", "9", job_id="k")]

    for fact in strange:
        (found,) = imbalances(books(), ACCEPTED, told=[*TOLD, fact])
        name = fact["type"].removeprefix("radbus.")
        assert found == f"double: {name} of k is told and not there"
