"""Pages of inferences: the cursor that says where one ended, and the link to the next (RFC 8288)."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from fastapi import Request
from radbus_contracts.errors import PermanentError

from radbus_results.adapters.inferences import Place
from radbus_results.domain.inference import Inference

CURSOR_CHARACTERS = 200
_EXPECTED = "cursor: expected one from the Link header of a page"
_OF_A_PATH = "/%:@!$&'()*+,;=-._~"  # RFC 3986 3.3, and what is escaped already


class CursorError(PermanentError):
    """Not a cursor of ours."""


def cursor_of(inference: Inference) -> str:
    """Spell the place where a page ends."""
    return urlsafe_b64encode(f"{inference.completed_at.isoformat()}|{inference.id}".encode()).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Read a cursor.

    Raises:
        CursorError: It is not one of ours.
    """
    try:
        time_text, _, inference_id = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
        written_at = datetime.fromisoformat(time_text)
        completed_at = in_utc(written_at)
    except (binascii.Error, ValueError) as error:
        raise CursorError(_EXPECTED) from error
    if written_at.tzinfo is None or not inference_id:
        raise CursorError(_EXPECTED)
    return Place(completed_at, inference_id)


def in_utc(time: datetime) -> datetime:
    """Give a time in UTC, which it is in where it says nothing; raise ValueError for one outside the calendar there."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a time between the years 1 and 9999 in UTC") from error


def next_link(request: Request, cursor: str) -> str:
    """Spell the link to the page that begins at a cursor, with everything else as it was asked.

    From the path as it was sent: decoded, it may hold what no header can.
    """
    path = quote(request.scope["raw_path"], safe=_OF_A_PATH)
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    url = f"{request.url.scheme}://{request.url.netloc}{path}?{urlencode([*asked, ('cursor', cursor)])}"
    return f'<{url}>; rel="next"'
