"""How urgent a result is: the use case's own condition over its tasks' values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue
from radbus_contracts.facts import TriageStatus
from radbus_runtime.conditions import Answer, Condition, ConditionError


class Urgency(StrEnum):
    """The classes of a worklist: what could not be judged may be critical, so it is read before what is not."""

    CRITICAL = "critical"
    NOT_JUDGED = "not-judged"
    ROUTINE = (
        "judged"  # not "routine": so cursors of before this class was told apart are refused, and no result skipped
    )

    @property
    def triage(self) -> TriageStatus:
        """Return the status that a result of this class has."""
        return TriageStatus.CRITICAL if self is Urgency.CRITICAL else TriageStatus.ROUTINE


@dataclass(frozen=True, slots=True)
class Triage:
    """A status, with the reason why it could not be told when it could not."""

    status: TriageStatus
    reason: str | None = None


def triage(critical_when: str | None, values: Mapping[str, Mapping[str, JsonValue]]) -> Triage:
    """Judge the condition over `{task id: values}`: yes is critical; no and unknown are routine."""
    if critical_when is None:
        return Triage(TriageStatus.ROUTINE)
    try:
        verdict = Condition(critical_when).judge(values)
    except ConditionError:
        # A result is worth more than a condition: it is recorded, and says that it could not be judged.
        return Triage(TriageStatus.ROUTINE, "not judged: the use case's condition is not a CEL expression")
    match verdict.answer:
        case Answer.YES:
            return Triage(TriageStatus.CRITICAL)
        case Answer.NO:
            return Triage(TriageStatus.ROUTINE)
        case Answer.UNKNOWN:
            return Triage(TriageStatus.ROUTINE, f"not judged: {verdict.reason}")
