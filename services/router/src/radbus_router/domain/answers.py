"""What one condition of a use case answers."""

from __future__ import annotations

from dataclasses import dataclass

from radbus_runtime.conditions import Answer


@dataclass(frozen=True, slots=True)
class ConditionAnswer:
    """What one named condition answers, and why where that is not plain."""

    name: str
    expression: str
    answer: Answer
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.answer.value}{f', {self.reason}' if self.reason else ''}"
