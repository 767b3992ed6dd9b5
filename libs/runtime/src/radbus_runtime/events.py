"""Making the messages that a service says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from radbus_contracts import identity
from radbus_contracts.envelope import Event, Payload
from radbus_contracts.topology import EVENTS, Fact

from radbus_runtime.tracing import current_traceparent

# Made once: pydantic forgets a generic's class that nobody holds, and makes it anew at each use.
_Said = Event[Payload]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message with its way: what an outbox holds and the bus publishes."""

    id: str
    exchange: str
    routing_key: str
    type: str
    body: str
    traceparent: str | None

    def document(self) -> dict[str, Any]:
        """Return the outbox entry."""
        return {
            "id": self.id,
            "exchange": self.exchange,
            "routing_key": self.routing_key,
            "type": self.type,
            "body": self.body,
            "traceparent": self.traceparent,
            "at": datetime.now(UTC),
        }

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Outgoing:
        """Read an outbox entry."""
        return cls(**{name: entry[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Teller:
    """Says facts in a service's name."""

    service: str

    def tell(
        self,
        fact: Fact,
        data: Payload,
        *,
        subject: str,
        institution: str,
        routing_key: str | None = None,
        exchange: str = EVENTS,
        event_id: str | None = None,
        successor: Fact | None = None,
    ) -> Outgoing:
        """Make a message; give `event_id` where the same fact may be told twice, so that both are one.

        `successor` is the newer version by which the same is told, too (`tell_both`).
        """
        if not isinstance(data, fact.payload):
            raise TypeError(f"{fact.type} carries {fact.payload.__name__}, not {type(data).__name__}")
        event = _Said(
            id=event_id or str(uuid4()),
            source=f"radbus/{self.service}",
            type=fact.type,
            subject=subject,
            institution=institution,
            traceparent=current_traceparent(),
            successor=successor.type if successor else None,
            data=data,
        )
        return Outgoing(
            id=event.id,
            exchange=exchange,
            routing_key=routing_key or fact.routing_key,
            type=fact.type,
            body=event.model_dump_json(serialize_as_any=True),
            traceparent=event.traceparent,
        )

    def tell_both(
        self,
        old: tuple[Fact, Payload],
        new: tuple[Fact, Payload],
        *,
        subject: str,
        institution: str,
        event_id: str,
    ) -> list[Outgoing]:
        """Make one fact's messages in two versions, for as long as there are readers of the older (docs/upgrading.md).

        Both go into one outbox entry. Each has an id of its own, the same each time.
        """
        (old_fact, old_data), (new_fact, new_data) = old, new
        newer_id = identity.event_id(new_fact.type, event_id)
        return [
            self.tell(
                old_fact, old_data, subject=subject, institution=institution, event_id=event_id, successor=new_fact
            ),
            self.tell(new_fact, new_data, subject=subject, institution=institution, event_id=newer_id),
        ]
