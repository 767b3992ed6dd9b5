"""Which models answer nothing, though Triton calls them ready: their process hangs, or fails at all it is asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_FAILURES: Final = 3


class Canary(StrEnum):
    """What came of the smallest inference."""

    ANSWERED = "answered"
    LATE = "late"  # the model hangs, or is busy
    FAILED = "failed"  # the model fails, or does not like what so small an input has


@dataclass(frozen=True, slots=True)
class _Silence:
    since: float
    answers: int


class Silences:
    """Since when each model has answered nobody."""

    def __init__(self, limit_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """A model that answers nothing for longer than `limit_s` is silent; no single inference may take so long."""
        self._limit_s = limit_s
        self._clock = clock
        self._silences: dict[str, _Silence] = {}
        self._failures: Counter[str] = Counter()
        self._failed_at: dict[str, float] = {}

    def note(self, model: str, *, answered: bool) -> None:
        """Take to account what came of a request of this process."""
        self._failures[model] = 0 if answered else self._failures[model] + 1
        self._failed_at[model] = self._clock()

    def judge(self, model: str, canary: Canary, *, answers: int) -> str | None:
        """Say what is wrong with a model, or None; `answers` is how many Triton counts, whoever had asked.

        A canary that fails counts only beside requests of this process that fail, several in a row and the last of them
        within the limit: many a model refuses what so small an input has, and then idles.
        """
        now = self._clock()
        fails = self._failures[model] >= _FAILURES and now - self._failed_at[model] < self._limit_s
        if not (canary is Canary.LATE or (canary is Canary.FAILED and fails)):
            self._silences.pop(model, None)
            return None
        silence = self._silences.setdefault(model, _Silence(now, answers))
        if silence.answers != answers:  # fewer after a restart of Triton
            silence = self._silences[model] = _Silence(now, answers)
        if now - silence.since < self._limit_s:
            return None
        how = "does not answer" if canary is Canary.LATE else "fails at all that it is asked"
        return f"model {model} {how}, for more than {self._limit_s:g} s"
