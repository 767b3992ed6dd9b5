"""Reading a message: what is not of the form that its queue is for is refused in words that quote nothing of it."""

from __future__ import annotations

from functools import cache
from typing import Final, TypeVar

from faststream.rabbit import RabbitMessage
from pydantic import ValidationError
from radbus_contracts import topology
from radbus_contracts.envelope import CONTENT_TYPE, Event, Payload
from radbus_contracts.errors import PermanentError

P = TypeVar("P", bound=Payload)

# Messages carry references: the largest, a study with all its series, has a tenth of this.
MESSAGE_LIMIT_BYTES: Final = 4 * 1024 * 1024
_TYPES: Final = {fact.payload: fact.type for fact in (*topology.FACTS, topology.RUN_TASK)}


class MessageInvalidError(PermanentError):
    """A message is not of the form that its queue is for."""


def read_event(message: RabbitMessage, payload: type[P]) -> Event[P]:
    """Read a message as an event with this payload.

    Raises:
        MessageInvalidError: It is none; the text says what was expected.
    """
    if (message.content_type or CONTENT_TYPE).partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise MessageInvalidError(f"expected the content type {CONTENT_TYPE}, or none")
    if len(message.body) > MESSAGE_LIMIT_BYTES:
        raise MessageInvalidError(f"expected at most {MESSAGE_LIMIT_BYTES} bytes: a message carries references")
    try:
        event = _event_with(payload).parse(message.body)
    except ValidationError as error:
        raise MessageInvalidError(f"expected a CloudEvent with {payload.__name__}: {_faults(error)}") from None
    if event.type != _TYPES.get(payload, event.type):
        raise MessageInvalidError(f"expected the type {_TYPES[payload]}")
    if not event.institution.strip():
        raise MessageInvalidError("expected an institution")
    return event


@cache  # pydantic forgets a generic's class that nobody holds, and makes it anew at each use
def _event_with(payload: type[P]) -> type[Event[P]]:
    return Event[payload]  # type: ignore[valid-type]


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['type']}".removeprefix(": ")
        for fault in error.errors(include_input=False, include_url=False, include_context=False)[:5]
    )
