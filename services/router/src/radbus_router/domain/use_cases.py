"""What a use case is, as its YAML file says it: which images it is for, and which machines then run."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator
from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import CompareSpec, Priority, Scope, Source
from radbus_runtime.conditions import Condition, ConditionError

SOURCE_CONDITION = "source"
"""The name under which an answer tells whether `sources` holds."""

_NAME = r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$"
_TASK_ID = r"^[a-z][a-z0-9_]*$"  # a name that CEL can read: `lungs.emphysema_index`
_CHANNEL = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
_NOT_NAMES = frozenset({"not_implemented"})  # what the results API answers where no use case matches
_VARIABLES = {Scope.SERIES: frozenset({"series", "source"}), Scope.STUDY: frozenset({"study", "source"})}


class UseCaseError(PermanentError):
    """A use case that cannot be used; the text says file, key and what was expected."""


class Compute(StrEnum):
    """When a matching use case makes its job."""

    AUTOMATIC = "automatic"
    ON_REQUEST = "on-request"


def _compiled(expression: object) -> Condition:
    if not isinstance(expression, str):
        raise ValueError("expected a CEL expression in quotes")  # noqa: TRY004 - pydantic reads ValueError only
    try:
        return Condition(expression.strip())
    except ConditionError as error:
        raise ValueError(str(error)) from error


Cel = Annotated[
    Condition,
    PlainValidator(_compiled),
    PlainSerializer(lambda condition: condition.expression, return_type=str),
    WithJsonSchema({"type": "string", "description": "CEL expression."}),
]
ConditionName = Annotated[str, Field(pattern=_NAME, max_length=64)]
MeasurementName = Annotated[str, Field(min_length=1, max_length=200)]
ChannelName = Annotated[str, Field(pattern=_CHANNEL, max_length=64)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class UseCaseTask(_Strict):
    """One task of a use case: a machine, the tasks that must have succeeded before, and which series is which input."""

    id: str = Field(pattern=_TASK_ID, max_length=64)
    machine: str = Field(min_length=1)
    needs: tuple[str, ...] = ()
    channels: dict[ChannelName, Cel] = Field(default_factory=dict)


class PriorityWhen(_Strict):
    """When the data asks for more than the use case's own priority."""

    stat: Cel | None = None
    high: Cel | None = None


class Triage(_Strict):
    """How a result is sorted, from the values of its tasks."""

    critical: Cel | None = None


class Compare(_Strict):
    """With what a result is compared: the same patient's result of the latest earlier study."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True)

    against: Literal["previous"] = Field(alias="with")
    measurements: tuple[MeasurementName, ...] = Field(default=(), max_length=100)

    @property
    def spec(self) -> CompareSpec:
        """Return it as jobs carry it."""
        return CompareSpec(against=self.against, measurements=self.measurements)


class UseCase(_Strict):
    """One use case, checked as a whole: what it is for, what it runs."""

    use_case: str = Field(pattern=_NAME, max_length=64)
    version: int = Field(ge=1)
    title: str = Field(min_length=1)
    scope: Literal[Scope.SERIES, Scope.STUDY] = Scope.SERIES
    sources: tuple[str, ...] = Field(default=("*",), min_length=1)
    when: dict[ConditionName, Cel] = Field(min_length=1)
    priority: Priority = Priority.ROUTINE
    priority_when: PriorityWhen = PriorityWhen()
    compute: Compute = Compute.AUTOMATIC
    tasks: tuple[UseCaseTask, ...] = Field(min_length=1)
    triage: Triage = Triage()
    compare: Compare | None = None

    def admits(self, source: Source) -> bool:
        """Say whether one of the source's names fits one of `sources`; `*` also fits a source without any name."""
        return "*" in self.sources or any(
            fnmatchcase(name, pattern) for name in source.names for pattern in self.sources
        )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        faults = [*_name_faults(self), *_task_faults(self.tasks), *_channel_faults(self), *_expression_faults(self)]
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _name_faults(use_case: UseCase) -> Iterator[str]:
    if use_case.use_case in _NOT_NAMES:
        yield f"use_case: expected another name, {use_case.use_case!r} is what the results API answers for none"
    if SOURCE_CONDITION in use_case.when:
        yield f"when.{SOURCE_CONDITION}: expected another name, this one tells whether `sources` holds"


def _task_faults(tasks: tuple[UseCaseTask, ...]) -> Iterator[str]:
    ids = [task.id for task in tasks]
    for task_id in sorted({task_id for task_id in ids if ids.count(task_id) > 1}):
        yield f"tasks: expected each id once, {task_id!r} is there {ids.count(task_id)} times"
    for task in tasks:
        for need in task.needs:
            if need not in ids:
                yield f"tasks.{task.id}.needs: expected ids of other tasks, {need!r} is none"
    try:
        TopologicalSorter({task.id: task.needs for task in tasks}).prepare()
    except CycleError as error:
        yield f"tasks: expected no circle of needs, got {' -> '.join(error.args[1])}"


def _channel_faults(use_case: UseCase) -> Iterator[str]:
    for task in use_case.tasks:
        if task.channels and use_case.scope is not Scope.STUDY:
            yield f"tasks.{task.id}.channels: expected scope: study, since a channel is one of a study's series"
        for name, condition in task.channels.items():
            yield from _unknown(f"tasks.{task.id}.channels.{name}", condition, {"series"})


def _expression_faults(use_case: UseCase) -> Iterator[str]:
    variables = _VARIABLES[use_case.scope]
    asked = {f"when.{name}": condition for name, condition in use_case.when.items()}
    asked |= {f"priority_when.{name}": condition for name, condition in use_case.priority_when if condition}
    for key, condition in asked.items():
        yield from _unknown(key, condition, variables)
    if use_case.triage.critical is not None:
        yield from _unknown("triage.critical", use_case.triage.critical, {task.id for task in use_case.tasks})


def _unknown(key: str, condition: Condition, variables: set[str] | frozenset[str]) -> Iterator[str]:
    for name in condition.unknown_names(variables):
        yield f"{key}: expected only {', '.join(sorted(variables))} and CEL's own functions, got {name}"
