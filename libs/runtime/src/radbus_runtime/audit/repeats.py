"""Counting what is refused before it could reach anything: a flood of it is one event a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from radbus_storage.operator_records import AuditRecord

from radbus_runtime.audit.codes import Outcome

WINDOW_S: Final = 60.0
_KEYS_LIMIT: Final = 1000
_REST: Final = ("several", "")

Key = tuple[str, str]
"""An address, and a caller where one is known."""


@dataclass(slots=True)
class _Window:
    until: float
    count: int
    last: AuditRecord


class Repeats:
    """Gives the first of each address at once, and for those that follow one event at the end of each window."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[Key, _Window] = {}

    def take(self, key: Key, record: AuditRecord) -> AuditRecord | None:
        """Return the event when it is to be recorded now; None when it is counted."""
        if key not in self._windows and len(self._windows) >= _KEYS_LIMIT:
            key = _REST
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(self._clock() + WINDOW_S, 0, record)
            return record
        window.count += 1
        window.last = record
        return None

    def ended(self, *, all_of_them: bool = False) -> list[AuditRecord]:
        """Return an event for each window that has ended and had more than its first."""
        now, counted = self._clock(), list[AuditRecord]()
        for key, window in list(self._windows.items()):
            if window.until > now and not all_of_them:
                continue
            if not window.count:
                del self._windows[key]
                continue
            counted.append(_counted(window, is_rest=key == _REST))
            self._windows[key] = _Window(now + WINDOW_S, 0, window.last)
        return counted


def _counted(window: _Window, *, is_rest: bool) -> AuditRecord:
    record = window.last
    record["repeats"] = window.count
    if window.count > 1:
        record["event"]["outcome"] = max(record["event"]["outcome"], Outcome.SERIOUS_FAILURE)
    if is_rest:
        record["participants"][0]["address"] = None
    return record
