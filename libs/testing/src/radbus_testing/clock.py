"""A wall clock that jumps for one program alone, by Debian's libfaketime; the monotonic clock goes on as it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_LIBRARY = "faketime/libfaketimeMT.so.1"


class Clock:
    """The clock of the programs that are started with its environment."""

    def __init__(self, folder: Path) -> None:
        """Make a clock that goes right, kept in a file of a folder."""
        self._file = folder / "clock"
        self.jump(0)

    def jump(self, seconds: float) -> None:
        """Be so far ahead of the right time from now on, or behind it."""
        # One write of one line: a reader sees the old or the new one.
        self._file.write_text(f"{seconds:+.0f}s\n")

    def environment(self) -> Mapping[str, str]:
        """Give the variables that make a program live by this clock."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }


def library() -> Path | None:
    """Find libfaketime; None when it is not installed."""
    return next(Path("/usr/lib").glob(f"*/{_LIBRARY}"), None)
