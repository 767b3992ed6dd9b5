"""The count that ends every test of a fault must itself be able to fail."""

from __future__ import annotations

from copy import deepcopy

import pytest
from radbus_storage import records

from tests.chaos.ledger import Accepted, Books, imbalances

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
    records.STUDIES: {},
    records.RUNS: {},
    records.ROUTINGS: {"h/1.2/1": {"job_ids": ["j"], "outbox": []}},
    records.JOBS: {"j": {"state": "completed", "use_case": "qct", "reason": None, "tasks": [], "outbox": []}},
    records.OUTCOMES: {"j/t/1": {"_id": "j/t/1", "files": {"json": ["o"]}, "outbox": []}},
    records.INFERENCES: {
        "i": {"job_id": "j", "use_case": "qct", "subject_uid": "1.2", "superseded_by": None, "outbox": []}
    },
    records.CASES: {"h/1.2": {}},
}
TOLD = [
    {"type": "radbus.series.completed.v1", "id": "1", "data": {"series_instance_uid": "1.2", "revision": 1}},
    {"type": "radbus.inference.completed.v1", "id": "2", "data": {"inference_id": "i"}},
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


def test_what_no_subscriber_heard_is_missed_and_what_is_told_as_two_events_is_double():
    again = {**TOLD[1], "id": "3"}

    assert len(imbalances(books(), ACCEPTED, told=[])) == 2
    assert any(
        each.startswith("double: inference i is told") for each in imbalances(books(), ACCEPTED, told=[*TOLD, again])
    )
