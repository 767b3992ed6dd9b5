"""The events are a public product: their document and their bytes change only on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from radbus_contracts import topology
from radbus_contracts.asyncapi import document
from radbus_contracts.envelope import Event
from radbus_contracts.facts import InferenceCompletedV1, TriageStatus

ROOT = Path(__file__).parents[2]

GOLDEN = b"""{
  "specversion": "1.0", "id": "8a0b5b6e-0000-4000-8000-000000000001", "source": "radbus/results",
  "type": "radbus.inference.completed.v1", "subject": "1.2.3", "time": "2026-11-20T10:00:00Z",
  "datacontenttype": "application/json", "institution": "north",
  "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  "data": {"inference_id": "i", "job_id": "j", "use_case": "qct", "study_instance_uid": "1.2",
           "series_instance_uids": ["1.2.3"], "subject_uid": "1.2.3", "revision": 1, "triage": "critical",
           "a_field_of_a_later_release": true}
}"""


def test_the_document_of_the_bus_is_the_one_that_is_kept():
    kept = json.loads((ROOT / "docs" / "asyncapi.json").read_text())

    made = json.loads(json.dumps(document()))

    assert made == kept, "run `make docs`, and look at what changes for subscribers"


def test_a_message_of_a_later_release_is_read_by_this_one():
    event = Event[InferenceCompletedV1].parse(GOLDEN)

    assert event.data.triage is TriageStatus.CRITICAL
    assert event.institution == "north"


def test_a_message_is_written_as_subscribers_in_other_languages_know_it():
    written = json.loads(Event[InferenceCompletedV1].parse(GOLDEN).model_dump_json())

    expected = json.loads(GOLDEN)
    del expected["data"]["a_field_of_a_later_release"]
    assert written == expected


@pytest.mark.parametrize("fact", topology.FACTS, ids=lambda fact: fact.type)
def test_a_facts_type_and_routing_key_are_spelled_alike(fact):
    noun, past, version = fact.routing_key.split(".")

    assert fact.type == f"radbus.{noun}.{past}.{version}"
    assert fact.payload.__name__.lower().endswith(version)


def test_every_queue_of_ours_is_bound_to_a_fact_that_somebody_tells():
    told = {fact.binding for fact in topology.FACTS}

    assert {queue.routing_key for queue in topology.QUEUES} <= told
    assert len({queue.name for queue in topology.QUEUES}) == len(topology.QUEUES)
