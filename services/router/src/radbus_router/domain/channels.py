"""Choosing the series of a study for each channel of a machine with several inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from radbus_runtime.conditions import Answer, Condition, Variables

from radbus_router.domain.answers import ConditionAnswer
from radbus_router.domain.variables import SeriesHeader, largest


@dataclass(frozen=True, slots=True)
class Member:
    """One series of a study, ready to be asked."""

    header: SeriesHeader
    variables: Variables

    @classmethod
    def of(cls, header: SeriesHeader) -> Member:
        """Convert what conditions read, once for all of them."""
        return cls(header, Variables({"series": header.variables()}))


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a task: what its condition answers, and which series it gets."""

    task_id: str
    name: str
    answer: ConditionAnswer
    series_instance_uid: str | None


def choose_channels(task_id: str, channels: Mapping[str, Condition], members: Sequence[Member]) -> tuple[Channel, ...]:
    """Give each channel the largest series that meets it; two channels may get the same."""
    return tuple(_chosen(task_id, name, condition, members) for name, condition in channels.items())


def _chosen(task_id: str, name: str, condition: Condition, members: Sequence[Member]) -> Channel:
    verdicts = [(member.header, condition.judge(member.variables)) for member in members]
    met = [header for header, verdict in verdicts if verdict.answer is Answer.YES]
    label = f"channel {task_id}.{name}"
    if met:
        uid = largest(met).series_instance_uid
        reason = f"series {uid}" if uid else None
        return Channel(task_id, name, ConditionAnswer(label, condition.expression, Answer.YES, reason), uid)
    unknown = next((verdict for _, verdict in verdicts if verdict.answer is Answer.UNKNOWN), None)
    reason = f"met by none of {len(members)} series" + (f"; of one, {unknown.reason}" if unknown else "")
    answer = Answer.UNKNOWN if unknown else Answer.NO
    return Channel(task_id, name, ConditionAnswer(label, condition.expression, answer, reason), None)
