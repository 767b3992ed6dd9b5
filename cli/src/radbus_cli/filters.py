"""What the commands share that act on all that filters mean: times, and being sure of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer
from radbus_contracts.errors import PermanentError

Yes = Annotated[bool, typer.Option("--yes", help="Do it, however many are meant.")]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class DurationError(PermanentError):
    """Not a time such as 30m or 2d."""


class NotSureError(PermanentError):
    """More is meant than is done without being told so."""


def duration_of(text: str) -> timedelta:
    """Read a time such as 90s, 30m, 2h or 7d.

    Raises:
        DurationError: It is none.
    """
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip())
    if found is None:
        raise DurationError(f"expected a time such as 90s, 30m, 2h or 7d, got {text!r}")
    return timedelta(seconds=int(found[1]) * _UNITS_S[found[2]])
