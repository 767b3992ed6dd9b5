"""The AsyncAPI 3.0 document of the bus, made from the topology and the payloads."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from radbus_contracts import topology
from radbus_contracts.envelope import CONTENT_TYPE, Event
from radbus_contracts.topology import Fact

_REF = "#/components/schemas/{model}"


def document() -> dict[str, Any]:
    """Return the AsyncAPI document of every fact and order."""
    facts = (*topology.FACTS, topology.RUN_TASK)
    _, definitions = models_json_schema(
        [(Event[fact.payload], "serialization") for fact in facts],  # type: ignore[name-defined]
        ref_template=_REF,
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "radbus events",
            "version": "1",
            "description": "CloudEvents 1.0 in structured JSON over AMQP 0-9-1. Messages carry references, never "
            "pixels and never patient data. Fields may be added to a version; anything else is a new one beside it.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {_name(fact): _channel(fact) for fact in facts},
        "operations": {
            f"receive{_name(fact)}": {"action": "receive", "channel": {"$ref": f"#/channels/{_name(fact)}"}}
            for fact in facts
        },
        "components": {
            "messages": {_name(fact): _message(fact) for fact in facts},
            "schemas": definitions["$defs"],
        },
    }


def _name(fact: Fact) -> str:
    return fact.payload.__name__


def _channel(fact: Fact) -> dict[str, Any]:
    order = fact is topology.RUN_TASK
    suffix = ".{useCase}.{triage}" if fact.goes_on else ""
    channel: dict[str, Any] = {
        "address": "{pool}" if order else fact.routing_key + suffix,
        "messages": {_name(fact): {"$ref": f"#/components/messages/{_name(fact)}"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": topology.TASKS if order else topology.EVENTS,
                    "type": "direct" if order else "topic",
                    "durable": True,
                },
            }
        },
    }
    if order:
        channel["parameters"] = {"pool": {"description": "The worker pool."}}
    elif suffix:
        channel["parameters"] = {
            "useCase": {"description": "Such as qct."},
            "triage": {"description": "How to sort it.", "enum": ["routine", "critical"]},
        }
    return channel


def _message(fact: Fact) -> dict[str, Any]:
    return {
        "name": fact.type,
        "title": (fact.payload.__doc__ or "").strip(),
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": _REF.format(model=f"Event_{_name(fact)}_")},
    }
