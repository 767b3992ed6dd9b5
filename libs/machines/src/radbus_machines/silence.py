"""Which models answer nothing, though Triton calls them ready: their process hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Canary(StrEnum):
    """What came of the smallest inference."""

    ANSWERED = "answered"
    LATE = "late"  # the model hangs, or is busy
    FAILED = "failed"  # it runs: it may not like so small an input, or fail at all, of which its jobs tell


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

    def judge(self, model: str, canary: Canary, *, answers: int) -> str | None:
        """Say what is wrong with a model, or None; `answers` is how many Triton counts, whoever had asked."""
        if canary is not Canary.LATE:
            self._silences.pop(model, None)
            return None
        now = self._clock()
        silence = self._silences.setdefault(model, _Silence(now, answers))
        if silence.answers != answers:  # fewer after a restart of Triton
            silence = self._silences[model] = _Silence(now, answers)
        if now - silence.since < self._limit_s:
            return None
        return f"model {model} does not answer, for more than {self._limit_s:g} s"
