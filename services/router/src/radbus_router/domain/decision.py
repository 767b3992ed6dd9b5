"""Deciding which use cases a series or study is for, with the answer of every condition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from radbus_contracts.facts import Priority, Source
from radbus_runtime.conditions import Answer, Condition, Variables

from radbus_router.domain.answers import ConditionAnswer
from radbus_router.domain.channels import Channel, Member, choose_channels
from radbus_router.domain.use_cases import SOURCE_CONDITION, Compute, UseCase
from radbus_router.domain.variables import Subject, source_variables

_URGENCY = (Priority.ROUTINE, Priority.HIGH, Priority.STAT)
_FAILED_LIMIT = 3


@dataclass(frozen=True, slots=True)
class UseCaseDecision:
    """Whether one use case matches; it does when every condition answers yes."""

    use_case: UseCase
    answers: tuple[ConditionAnswer, ...]
    priority: Priority
    channels: tuple[Channel, ...] = ()

    @property
    def matched(self) -> bool:
        """Whether every condition answers yes; an unknown answer does not match."""
        return all(answer.answer is Answer.YES for answer in self.answers)

    @property
    def on_request(self) -> bool:
        """Whether its job is made only when somebody asks."""
        return self.use_case.compute is Compute.ON_REQUEST

    @property
    def failed(self) -> tuple[ConditionAnswer, ...]:
        """The conditions that did not answer yes."""
        return tuple(answer for answer in self.answers if answer.answer is not Answer.YES)


@dataclass(frozen=True, slots=True)
class Decision:
    """What every use case of the subject's scope answers."""

    decisions: tuple[UseCaseDecision, ...]

    @property
    def matched(self) -> tuple[UseCaseDecision, ...]:
        """The use cases that match, also those that compute on request only."""
        return tuple(decision for decision in self.decisions if decision.matched)

    @property
    def reason(self) -> str | None:
        """One sentence that says why none matches, or None when one does."""
        if self.matched:
            return None
        if not self.decisions:
            return "There is no use case of this scope."
        failures = (
            f"{each.use_case.use_case} ({'; '.join(str(answer) for answer in each.failed[:_FAILED_LIMIT])})"
            for each in self.decisions
        )
        return f"No use case matches: {', '.join(failures)}."


def decide(use_cases: Iterable[UseCase], subject: Subject, source: Source) -> Decision:
    """Ask every use case of the subject's scope; nothing absent or odd raises, it answers unknown."""
    asked = [use_case for use_case in use_cases if use_case.scope is subject.scope]
    variables = Variables({**subject.values, "source": source_variables(source)})
    has_channels = any(task.channels for use_case in asked for task in use_case.tasks)
    members = tuple(Member.of(header) for header in subject.series) if has_channels else ()
    return Decision(tuple(_asked(use_case, variables, members, source) for use_case in asked))


def _asked(use_case: UseCase, variables: Variables, members: Sequence[Member], source: Source) -> UseCaseDecision:
    judged = (_judged(name, condition, variables) for name, condition in use_case.when.items())
    channels = tuple(channel for task in use_case.tasks for channel in choose_channels(task.id, task.channels, members))
    answers = (_from_source(use_case, source), *judged, *(channel.answer for channel in channels))
    return UseCaseDecision(use_case, answers, _priority(use_case, variables), channels)


def _from_source(use_case: UseCase, source: Source) -> ConditionAnswer:
    answer = Answer.YES if use_case.admits(source) else Answer.NO
    return ConditionAnswer(SOURCE_CONDITION, f"one of {', '.join(use_case.sources)}", answer)


def _judged(name: str, condition: Condition, variables: Variables) -> ConditionAnswer:
    verdict = condition.judge(variables)
    return ConditionAnswer(name, condition.expression, verdict.answer, verdict.reason)


def _priority(use_case: UseCase, variables: Variables) -> Priority:
    asked = {Priority.STAT: use_case.priority_when.stat, Priority.HIGH: use_case.priority_when.high}
    raised = [
        priority
        for priority, condition in asked.items()
        if condition is not None and condition.judge(variables).answer is Answer.YES
    ]
    return max([use_case.priority, *raised], key=_URGENCY.index)
