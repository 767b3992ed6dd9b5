"""When a webhook that did not take an event is called again."""

from __future__ import annotations

from typing import Final

_STEPS_S: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
_LONGEST_S: Final = 4 * 3600.0
_SPREAD: Final = 0.2


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
