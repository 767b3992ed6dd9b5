"""The cursors of pages: what was spelled is read, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from radbus_runtime.cursors import CursorError, Place, cursor_of, place_of

T0 = datetime(2026, 1, 1, 12, 30, 15, 123000, tzinfo=UTC)
NO_ZONE = "MjAyNi0wMS0wMVQwMDowMDowMHxp"
OUTSIDE = ("MDAwMS0wMS0wMVQwMDowMDowMCsyMzowMHx4", "OTk5OS0xMi0zMVQyMzo1OTo1OS0yMzowMHx4")  # the calendar, in UTC


def test_a_cursor_says_the_place_where_a_page_ended():
    cursor = cursor_of(T0, "i1")

    assert place_of(cursor) == Place(T0, "i1")


@pytest.mark.parametrize(
    "cursor",
    ["?", "%%%", "bm90aGluZw", "MjAyNi0wMS0wMXxp", "MjAyNi0wMS0wMVQwMDowMDowMCswMDowMHw", "\xe9", NO_ZONE, *OUTSIDE],
)
def test_what_is_not_a_cursor_is_refused(cursor: str):
    with pytest.raises(CursorError, match="came with a page"):
        place_of(cursor)
