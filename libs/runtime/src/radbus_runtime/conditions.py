"""Conditions in CEL (Common Expression Language): true, false, or unknown because something is absent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cel
from radbus_contracts.errors import PermanentError

from radbus_runtime.condition_limits import fault_of, without_long_lists

_FUNCTIONS = {"matches", "contains", "startsWith", "endsWith", "size", "type", "dyn"}
_CONVERSIONS = {"string", "int", "uint", "double", "bytes", "duration", "timestamp"}
_TIME_FUNCTION = re.compile(r"get(FullYear|Month|Date|Day\w+|Hours|Minutes|Seconds|Milliseconds)")
_NAME = re.compile(r"[A-Za-z]\w*")
_BOUND_NAME = re.compile(r"\.(?:all|exists|exists_one|map|filter)\(\s*(\w+)\s*,")


class Answer(StrEnum):
    """What a condition answers."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class ConditionError(PermanentError):
    """Not a condition: the text says where the expression breaks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer with its reason, when it is not plain."""

    answer: Answer
    reason: str | None = None


class Variables:
    """What conditions read, converted once: the conversion takes a thousand times as long as a judgement."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        try:
            self.context = cel.Context(variables=without_long_lists(values))
        except ValueError as error:
            raise ConditionError("expected variables of numbers, texts, lists and maps") from error


class Condition:
    """One compiled expression."""

    def __init__(self, expression: str) -> None:
        if fault := fault_of(expression):
            raise ConditionError(f"not a CEL expression that can be asked: {fault}")
        self.expression = expression
        try:
            self._program = cel.compile(expression)
        except ValueError as error:
            raise ConditionError(f"not a CEL expression: {expression!r}: {error}") from error

    def unknown_names(self, variables: Set[str]) -> list[str]:
        """Return the variables that are none of these and the functions that CEL does not have: misspelt ones."""
        known = {*variables, *_BOUND_NAME.findall(self.expression)}
        functions = {name for name in self._program.functions() if _NAME.fullmatch(name)} - _FUNCTIONS - _CONVERSIONS
        return [
            *(name for name in self._program.variables() if name not in known),
            *(f"{name}()" for name in sorted(functions) if not _TIME_FUNCTION.fullmatch(name)),
        ]

    def judge(self, variables: Mapping[str, Any] | Variables) -> Verdict:
        """Evaluate; what is absent or of another type makes it unknown, never an error."""
        try:
            given = variables if isinstance(variables, Variables) else Variables(variables)
            value = self._program.execute(given.context)
        except ConditionError:
            return Verdict(Answer.UNKNOWN, "it is asked of values that no expression can read")
        except KeyError as error:
            return Verdict(Answer.UNKNOWN, f"{error.args[0]} is absent")
        except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
            return Verdict(Answer.UNKNOWN, f"cannot be evaluated ({type(error).__name__})")
        if not isinstance(value, bool):
            return Verdict(Answer.UNKNOWN, f"expected true or false, got {type(value).__name__}")
        return Verdict(Answer.YES if value else Answer.NO)
