"""Own progress: a loop says each time that it has come round; one that no longer does is named by `/readyz`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

_pulses: ContextVar[Pulses | None] = ContextVar("pulses", default=None)


class Pulses:
    """When each loop of a service will have come round again at the latest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}

    def listen(self) -> None:
        """Take the beats of the loops that are started from here."""
        _pulses.set(self)

    def expect(self, loop: str, *, within_s: float) -> None:
        """Expect a loop's next beat within that time."""
        self._due[loop] = self._clock() + within_s

    async def check(self) -> str | None:
        """Return which loops have not come round in time, or None."""
        now = self._clock()
        late = sorted(loop for loop, due in self._due.items() if due < now)
        return f"no progress of {', '.join(late)}" if late else None


def beat(loop: str, *, within_s: float = 60.0) -> None:
    """Say that a loop has come round, and that it will again within that time; unheard, it does nothing."""
    pulses = _pulses.get()
    if pulses is not None:
        pulses.expect(loop, within_s=within_s)
