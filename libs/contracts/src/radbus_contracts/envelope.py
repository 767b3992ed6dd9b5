"""The envelope of every message: CloudEvents 1.0 in structured JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Generic, Literal, Self, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

CONTENT_TYPE = "application/cloudevents+json"


class Payload(BaseModel):
    """Base of what an event or a command carries: references, never pixels and never patient data."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


P = TypeVar("P", bound=Payload)


class Event(BaseModel, Generic[P]):
    """One message, as its subscribers read it (CloudEvents 1.0, section 2)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(default_factory=lambda: str(uuid4()))
    source: str = Field(description="The service that says it, as radbus/<service>.")
    type: str = Field(description="radbus.<noun>.<past>.v<n>")
    subject: str = Field(description="The UID or id that it is about.")
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    datacontenttype: Literal["application/json"] = "application/json"
    institution: str = Field(description="Whose data it is about; CloudEvents extension attribute.")
    traceparent: str | None = Field(default=None, description="W3C trace context.")
    successor: str | None = Field(
        default=None,
        exclude_if=lambda given: given is None,
        description="The type of a newer version that tells the same, too: who reads that need not read this one.",
    )
    data: P

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a message's body."""
        return cls.model_validate_json(body)
