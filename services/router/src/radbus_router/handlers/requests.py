"""Over HTTP: which use cases there are, and which would match; nothing is stored, and no value is logged."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from radbus_contracts.facts import CompareSpec, Dialect, Priority, Scope, Source
from radbus_runtime.audit.codes import EXPLAIN, LOOK_UP
from radbus_runtime.auth.principal import AccessScope, Requires
from radbus_runtime.documented import REFUSALS, refusal

from radbus_router.domain.explaining import ExplainedUseCase, explain_series, explain_study
from radbus_router.domain.use_cases import Compute, UseCase, UseCaseTask

_SERIES_LIMIT = 500


class TaskView(BaseModel):
    """One task of a use case."""

    id: str
    machine: str
    needs: tuple[str, ...]
    channels: dict[str, str] = Field(description="By channel, CEL over one series: which of the study's is this input.")


class UseCaseView(BaseModel):
    """A use case as it is in force."""

    use_case: str
    version: int
    title: str
    scope: Scope
    sources: tuple[str, ...] = Field(description="Patterns of AE titles, workspaces and token names.")
    conditions: dict[str, str] = Field(description="CEL by name; all must answer yes.")
    priority: Priority
    priority_when: dict[Priority, str] = Field(description="CEL that raises the priority.")
    compute: Compute
    tasks: tuple[TaskView, ...]
    critical_when: str | None = Field(description="CEL over the tasks' values: the result is critical.")
    compare: CompareSpec | None = Field(description="With which earlier result of the patient it is compared.")


class UseCaseList(BaseModel):
    """All use cases."""

    use_cases: tuple[UseCaseView, ...]


class ExplainRequest(BaseModel):
    """Series as they might come, each as header elements by keyword."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "source": {"dialect": "c-store", "calling_ae_title": "CT1"},
                "series": [{"Modality": "CT", "BodyPartExamined": "CHEST", "instances": 120}],
            }
        }
    )

    source: Source = Source(dialect=Dialect.UPLOAD)
    series: list[dict[str, JsonValue]] = Field(
        min_length=1,
        max_length=_SERIES_LIMIT,
        description="Elements by keyword; `instances` is their count; `all` has the distinct values where they differ.",
    )


class ExplainedSeries(BaseModel):
    """What the use cases of scope series answer about one series."""

    series_instance_uid: str | None
    use_cases: tuple[ExplainedUseCase, ...]


class Explanation(BaseModel):
    """What every use case answers."""

    series: tuple[ExplainedSeries, ...] = Field(description="In the order in which they were given.")
    study: tuple[ExplainedUseCase, ...] = Field(description="Use cases of scope study, about all series together.")


def use_case_routes(use_cases: Sequence[UseCase], requires: Requires) -> APIRouter:
    """Make the routes `/use-cases` and `/explain`."""
    lister, asker = (Depends(requires(AccessScope.READ, kind)) for kind in (LOOK_UP, EXPLAIN))
    router = APIRouter(tags=["use cases"], responses=REFUSALS)
    listed = UseCaseList(use_cases=tuple(_view(use_case) for use_case in use_cases))

    @router.get("/use-cases", dependencies=[lister], summary="All use cases, with their conditions and tasks.")
    async def list_use_cases() -> UseCaseList:
        return listed

    # Not a coroutine: hundreds of large headers would hold up the event loop.
    @router.post(
        "/explain",
        dependencies=[asker],
        summary="Which use cases would match, and what each of their conditions answers.",
        responses={400: refusal("Not JSON, or values that conditions cannot read.")},
    )
    def explain(asked: ExplainRequest) -> Explanation:
        return Explanation(
            series=tuple(
                ExplainedSeries(
                    series_instance_uid=_text(elements.get("SeriesInstanceUID")),
                    use_cases=explain_series(use_cases, elements, asked.source),
                )
                for elements in asked.series
            ),
            study=explain_study(use_cases, asked.series, asked.source),
        )

    return router


def _view(use_case: UseCase) -> UseCaseView:
    critical = use_case.triage.critical
    return UseCaseView(
        use_case=use_case.use_case,
        version=use_case.version,
        title=use_case.title,
        scope=use_case.scope,
        sources=use_case.sources,
        conditions={name: condition.expression for name, condition in use_case.when.items()},
        priority=use_case.priority,
        priority_when=use_case.priority_when.model_dump(exclude_none=True),
        compute=use_case.compute,
        tasks=tuple(_task_view(task) for task in use_case.tasks),
        critical_when=critical.expression if critical else None,
        compare=use_case.compare.spec if use_case.compare else None,
    )


def _task_view(task: UseCaseTask) -> TaskView:
    channels = {name: condition.expression for name, condition in task.channels.items()}
    return TaskView(id=task.id, machine=task.machine, needs=task.needs, channels=channels)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
