"""How fast a body comes: whoever sends it one byte after another keeps a place from others for hours."""

from __future__ import annotations


class Pace:
    """Bytes and the time that they were waited for; while nobody waits, because there is no room, none is counted."""

    def __init__(self, *, least_bytes_per_s: float, within_s: float) -> None:
        """At least so many bytes a second, on the average of each `within_s`, and one byte in each at the least."""
        self.least_bytes = max(1, round(least_bytes_per_s * within_s))
        self.within_s = within_s
        self._bytes = 0
        self._waited_s = 0.0

    @property
    def left_s(self) -> float:
        """For how long more bytes may be waited for."""
        return max(0.0, self.within_s - self._waited_s)

    def came(self, size_bytes: int, *, waited_s: float) -> None:
        """Count a piece of the body; as soon as enough has come a new time begins."""
        self._bytes += size_bytes
        self._waited_s += waited_s
        if self._bytes >= self.least_bytes:
            self._bytes, self._waited_s = 0, 0.0
