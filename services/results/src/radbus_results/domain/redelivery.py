"""When a webhook that did not take an event is called again, and when one that is away is called at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_STEPS_S: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
_LONGEST_S: Final = 4 * 3600.0
_SPREAD: Final = 0.2
_AT_ONCE: Final = 4
_SHORTEST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 300.0


def again_after(tries: int, *, asked_s: float | None, chance: float) -> float:
    """Say in how many seconds, after so many tries in vain.

    Args:
        tries: From 1.
        asked_s: What the receiver asked for (`Retry-After`), if it did: no sooner than that, within four hours.
        chance: Of 0 to 1: spreads what failed together.
    """
    step = _STEPS_S[tries - 1] if tries <= len(_STEPS_S) else _LONGEST_S
    spread = step * (1 + _SPREAD * (2 * chance - 1))
    return max(spread, min(asked_s or 0.0, _LONGEST_S))


@dataclass(slots=True)
class Line:
    """How it stands with one receiver, as one replica has seen it; times are of one clock that never jumps."""

    called: int = 0
    pause_s: float = 0.0  # 0 while it answers
    paused_until: float = 0.0

    def is_busy(self, now: float) -> bool:
        """Say whether nothing more is to be tried at it now; one that is away is tried by one call at a time."""
        return self.called >= (1 if self.pause_s else _AT_ONCE) or now < self.paused_until

    def note(self, now: float, *, is_away: bool) -> None:
        """Learn from an answer; several calls that end in vain together are one reason to pause."""
        if not is_away:
            self.pause_s = self.paused_until = 0.0
        elif now >= self.paused_until:
            self.pause_s = min(max(_SHORTEST_PAUSE_S, 2 * self.pause_s), _LONGEST_PAUSE_S)
            self.paused_until = now + self.pause_s
