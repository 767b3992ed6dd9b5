"""What an operator wants to know of a dead letter, read from whatever a message may be; and which ones are meant."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from radbus_contracts.topology import DELIVERY_LIMIT, UNROUTED
from radbus_runtime.headers import DIED_AT_HEADER, REASON_HEADER, REPLAYS_HEADER, RETRIES_HEADER

# The broker's own and settlement's account of one life; at a replay it becomes an entry of the history.
_ACCOUNT = re.compile(r"x-death|x-(first|last)-death-\w+|x-delivery-count|x-acquired-count")
_OURS = (REASON_HEADER, RETRIES_HEADER, DIED_AT_HEADER)
# All headers of a message must fit into one frame of 128 KiB.
_REPLAYS_KEPT = 10
_ENTRY_CHARACTERS = 4_000
_DIGITS = 6  # what has more was never a count
_UNROUTED = "no queue took it: expected that of a worker pool"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message among the dead letters, without its body."""

    id: str
    queue: str
    reason: str
    type: str | None
    subject: str | None
    attempts: int
    died_at: datetime | None
    replays: int
    size_bytes: int

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"died_at": self.died_at.isoformat() if self.died_at else None}


def read_letter(queue: str, message_id: str | None, body: bytes, headers: Mapping[str, Any]) -> DeadLetter:
    """Read a dead letter of a queue; nothing of it has to be as it should be."""
    event = body_of(body)
    told = event if isinstance(event, dict) else {}
    retries = text_of(headers.get(RETRIES_HEADER))
    attempts = 1 + (int(retries) if retries.isdecimal() and len(retries) <= _DIGITS else 0)
    limit = _death_by_limit(queue, headers)
    return DeadLetter(
        id=message_id or _text_or_none(told.get("id")) or f"sha256:{hashlib.sha256(body).hexdigest()[:16]}",
        queue=queue,
        reason=_reason(queue, limit, headers),
        type=_text_or_none(told.get("type")),
        subject=_text_or_none(told.get("subject")),
        attempts=attempts if limit is None else attempts + DELIVERY_LIMIT,
        died_at=_died_at(limit, headers),
        replays=len(replays_of(headers)),
        size_bytes=len(body),
    )


def body_of(body: bytes) -> Any:
    """Return the body as JSON, or as text when it is none, or none that can be printed again."""
    text = body.decode(errors="backslashreplace")
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is JSON, and no text
    except (ValueError, RecursionError):
        return text
    return value


def replays_of(headers: Mapping[str, Any]) -> list[Any]:
    """Return the earlier lives of a message: when and by whom it was replayed, and why it had died."""
    found = body_of(text_of(headers.get(REPLAYS_HEADER)).encode(errors="backslashreplace"))
    return found if isinstance(found, list) else []


def replayed_headers(headers: Mapping[str, Any], *, by: str, at: datetime) -> dict[str, Any]:
    """Return the headers with which a message goes back to its queue: it begins anew, and its history goes with it.

    The broker's account must not stay in its own header: the retry ladder would seem a circle to it, in which it
    drops the message.
    """
    account = {name: value for name, value in headers.items() if _ACCOUNT.fullmatch(name) or name in _OURS}
    life = {"at": at.isoformat(timespec="seconds"), "by": by, **plain(account)}
    if len(json.dumps(life)) > _ENTRY_CHARACTERS:
        life = {name: str(value)[:500] for name, value in life.items() if not isinstance(value, list | dict)}
    history = [*replays_of(headers), life][-_REPLAYS_KEPT:]
    return {name: value for name, value in headers.items() if name not in account} | {
        REPLAYS_HEADER: json.dumps(history)
    }


def plain(value: Any) -> Any:
    """Return a header's value as JSON can hold it."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Mapping():
            return {str(name): plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case None | bool() | int() | float():
            return value
        case _:
            return text_of(value)


def text_of(value: object) -> str:
    """Return a header's value as text, empty when it is not there."""
    if value is None:
        return ""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant; what is not given holds for all."""

    id: str | None = None
    reason: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    def holds_for(self, letter: DeadLetter, now: datetime) -> bool:
        """Say whether a letter is meant; one of unknown age is neither older nor newer."""
        if self.id not in {None, letter.id}:
            return False
        if self.reason is not None and self.reason.casefold() not in letter.reason.casefold():
            return False
        if self.older_than is None and self.newer_than is None:
            return True
        if letter.died_at is None:
            return False
        age = now - letter.died_at
        return (self.older_than is None or age >= self.older_than) and (
            self.newer_than is None or age <= self.newer_than
        )


def _death_by_limit(queue: str, headers: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the broker's account when it was the broker that gave up, not the service."""
    deaths = headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else ():
        if isinstance(death, Mapping) and text_of(death.get("queue")) == queue:
            return death
    return None


def _reason(queue: str, limit: Mapping[str, Any] | None, headers: Mapping[str, Any]) -> str:
    said = text_of(headers.get(REASON_HEADER))
    if limit is None:
        return said or (_UNROUTED if queue == UNROUTED else "no reason was given")
    why = text_of(limit.get("reason"))
    if why == "delivery_limit":
        why = f"delivered {DELIVERY_LIMIT + 1} times and never settled: its consumer ended or lost its connection"
    return f"{why}; put off before because of {said}" if said else why


def _died_at(limit: Mapping[str, Any] | None, headers: Mapping[str, Any]) -> datetime | None:
    if limit is not None:
        told = limit.get("time")
        return told.astimezone(UTC) if isinstance(told, datetime) else None
    try:
        told = datetime.fromisoformat(text_of(headers.get(DIED_AT_HEADER)))
    except ValueError:
        return None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
