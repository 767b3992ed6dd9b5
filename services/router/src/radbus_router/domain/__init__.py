"""The router's decisions: which use cases a completed series or study is for, and why not the others."""

from radbus_router.domain.answers import ConditionAnswer
from radbus_router.domain.decision import Decision, UseCaseDecision, decide
from radbus_router.domain.explaining import ExplainedCondition, ExplainedUseCase, explain_series, explain_study
from radbus_router.domain.routing import RoutedSubject, Routing
from radbus_router.domain.use_cases import Compute, UseCase, UseCaseError
from radbus_router.domain.variables import SeriesHeader, Subject

__all__ = [
    "Compute",
    "ConditionAnswer",
    "Decision",
    "ExplainedCondition",
    "ExplainedUseCase",
    "RoutedSubject",
    "Routing",
    "SeriesHeader",
    "Subject",
    "UseCase",
    "UseCaseDecision",
    "UseCaseError",
    "decide",
    "explain_series",
    "explain_study",
]
