"""Saying which use cases would match and why not, for `POST /explain` and for `radbus explain`; nothing is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from radbus_contracts.facts import Priority, Scope, Source
from radbus_runtime.conditions import Answer

from radbus_router.domain.decision import UseCaseDecision, decide
from radbus_router.domain.use_cases import Compute, UseCase
from radbus_router.domain.variables import SeriesHeader, Subject

_COUNT_KEY, _DISTINCT_KEY = "instances", "all"


class ExplainedCondition(BaseModel):
    """One condition of a use case and its answer."""

    model_config = ConfigDict(frozen=True)

    name: str
    expression: str
    answer: Answer
    reason: str | None = Field(description="Why it is unknown; of a channel, which series it gets or why none.")


class ExplainedUseCase(BaseModel):
    """Whether a use case would match, and what each of its conditions answers."""

    model_config = ConfigDict(frozen=True)

    use_case: str
    version: int
    title: str
    scope: Scope
    matched: bool
    compute: Compute
    priority: Priority = Field(description="Of the job that it would make.")
    conditions: tuple[ExplainedCondition, ...]


def explain_series(
    use_cases: Iterable[UseCase], elements: Mapping[str, Any], source: Source
) -> tuple[ExplainedUseCase, ...]:
    """Ask the use cases of scope series; `elements` are by keyword, with `instances` (a count) and, if any, `all`."""
    decision = decide(use_cases, Subject.of_series(_header(elements)), source)
    return tuple(_explained(each) for each in decision.decisions)


def explain_study(
    use_cases: Iterable[UseCase], series: Sequence[Mapping[str, Any]], source: Source
) -> tuple[ExplainedUseCase, ...]:
    """Ask the use cases of scope study about series (at least one), each as `explain_series` takes it."""
    decision = decide(use_cases, Subject.of_study([_header(elements) for elements in series]), source)
    return tuple(_explained(each) for each in decision.decisions)


def _header(elements: Mapping[str, Any]) -> SeriesHeader:
    count, distinct = elements.get(_COUNT_KEY, 1), elements.get(_DISTINCT_KEY, {})
    return SeriesHeader(
        series_instance_uid=str(elements.get("SeriesInstanceUID", "")),
        elements={name: value for name, value in elements.items() if name not in (_COUNT_KEY, _DISTINCT_KEY)},
        instance_count=count if isinstance(count, int) else 1,
        distinct=distinct if isinstance(distinct, Mapping) else {},
    )


def _explained(decision: UseCaseDecision) -> ExplainedUseCase:
    use_case = decision.use_case
    conditions = (
        ExplainedCondition(name=each.name, expression=each.expression, answer=each.answer, reason=each.reason)
        for each in decision.answers
    )
    return ExplainedUseCase(
        use_case=use_case.use_case,
        version=use_case.version,
        title=use_case.title,
        scope=use_case.scope,
        matched=decision.matched,
        compute=use_case.compute,
        priority=decision.priority,
        conditions=tuple(conditions),
    )
