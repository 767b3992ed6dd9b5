"""A released version of a message never changes but by additions: services of two releases speak with each other."""

from __future__ import annotations

import copy

import pytest

from tests.contract.compatibility import current, incompatible, released

TYPE = "radbus.series.completed.v1"


def test_every_message_is_compatible_with_what_was_released():
    assert incompatible(released(), current()) == [], "make a V2 beside it: docs/upgrading.md"


def test_what_was_released_is_kept_whole():
    assert released() == current(), "`python -m tests.contract.compatibility` keeps what was added"


def test_a_field_that_need_not_be_given_may_be_added():
    new = copy.deepcopy(current())
    for schema in new[TYPE].values():
        schema["properties"]["body_part"] = {"type": "string"}
    new[TYPE]["told"]["required"].append("body_part")

    assert incompatible(current(), new) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda schema: schema["properties"].pop("modality"), "modality: is gone"),
        (lambda schema: schema["required"].remove("modality"), "modality need not be given any more"),
        (lambda schema: schema["properties"]["modality"].update(type="integer"), "modality: was"),
        (lambda schema: schema["properties"]["source"]["properties"].pop("workspace"), "source.workspace: is gone"),
        (lambda schema: schema["properties"]["source"]["properties"]["dialect"]["enum"].append("fax"), "dialect: was"),
    ],
)
def test_anything_else_is_refused_with_its_place(change, fault):
    new = copy.deepcopy(current())
    for schema in new[TYPE].values():
        change(schema)

    assert any(fault in found for found in incompatible(current(), new))


def test_a_reader_that_wants_a_field_which_the_release_before_does_not_tell_is_refused():
    new = copy.deepcopy(current())
    new[TYPE]["read"]["properties"]["body_part"] = {"type": "string"}
    new[TYPE]["read"]["required"].append("body_part")

    assert incompatible(current(), new) == [f"{TYPE}: data: body_part must be given now"]


def test_a_message_that_is_gone_is_refused():
    new = {name: schema for name, schema in current().items() if name != TYPE}

    assert [fault for fault in incompatible(current(), new) if TYPE in fault]
