"""Cursors: where a page of records, newest first, ended, and the next one begins."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from radbus_contracts.errors import PermanentError

CURSOR_CHARACTERS: Final = 200
_EXPECTED: Final = "cursor: expected one that came with a page"


class CursorError(PermanentError):
    """Not a cursor of ours."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended, in the order of time and id."""

    at: datetime
    id: str


def cursor_of(at: datetime, record_id: str) -> str:
    """Spell the place where a page ends: the time and the id of its last record."""
    return urlsafe_b64encode(f"{at.isoformat()}|{record_id}".encode()).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Read a cursor.

    Raises:
        CursorError: It is not one of ours.
    """
    try:
        time_text, _, record_id = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
        written_at = datetime.fromisoformat(time_text)
        place = Place(in_utc(written_at), record_id)
    except (binascii.Error, ValueError) as error:
        raise CursorError(_EXPECTED) from error
    if written_at.tzinfo is None or not record_id:
        raise CursorError(_EXPECTED)
    return place


def in_utc(time: datetime) -> datetime:
    """Give a time in UTC, which it is in where it says nothing; raise ValueError for one outside the calendar there."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a time between the years 1 and 9999 in UTC") from error
