"""Touch the series and studies of what was stored: from then on something will complete them, whoever dies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from radbus_contracts.errors import TransientError

from radbus_ingest.adapters.records import Touch
from radbus_ingest.domain.completeness import CompletenessRules, SeriesArrival, complete_at_once
from radbus_ingest.domain.outcomes import Arrival, Stored


class Count(Protocol):
    """Counts a series' instances."""

    async def __call__(self, institution: str, series_instance_uid: str) -> int:
        """Return how many are recorded."""
        ...


class TouchSeries(Protocol):
    """Opens a series, or opens it again."""

    async def __call__(self, touch: Touch, series_instance_uid: str, modality: str) -> None:
        """Raise TransientError when the store is away."""
        ...


class TouchStudy(Protocol):
    """Opens a study, or opens it again."""

    async def __call__(self, touch: Touch) -> None:
        """Raise TransientError when the store is away."""
        ...


class CompletedCount(Protocol):
    """Tells with how many instances a series was completed."""

    async def __call__(self, institution: str, series_instance_uid: str) -> int | None:
        """Return None when it is open or unknown; raise TransientError when the store is away."""
        ...


class Toucher:
    """Touches each study and each series of a request once, after its instances are recorded.

    A duplicate touches its series too, since whoever stored it may have died before the touch; unless the series was
    completed with all that there is: then it must not be under process again for nothing.
    """

    def __init__(
        self,
        rules: CompletenessRules,
        *,
        touch_series: TouchSeries,
        touch_study: TouchStudy,
        count: Count,
        completed_count: CompletedCount,
        complete_soon: Callable[[], None],
    ) -> None:
        self._series = touch_series
        self._study = touch_study
        self._rules = rules
        self._count = count
        self._completed_count = completed_count
        self._complete_soon = complete_soon

    async def touch(self, arrival: Arrival, stored: Iterable[Stored], *, is_whole: bool = True) -> set[tuple[str, str]]:
        """Touch everything that was stored; return the (study, series) UIDs for which a store was away.

        A request that is not whole will come again: what it says of being complete does not hold yet.
        """
        groups: dict[tuple[str, str], list[Stored]] = {}
        for outcome in stored:
            key = (outcome.instance.study_instance_uid, outcome.instance.series_instance_uid)
            groups.setdefault(key, []).append(outcome)
        settled = {key for key, group in groups.items() if await self._is_settled(arrival.institution, key[1], group)}
        groups = {key: group for key, group in groups.items() if key not in settled}
        lost_studies: set[str] = set()
        # The study first: a series that is receiving then always has a study that is, too.
        for study_instance_uid in {study for study, _ in groups}:
            if not await self._touch_study(arrival, study_instance_uid):
                lost_studies.add(study_instance_uid)
        lost: set[tuple[str, str]] = set()
        for key, group in groups.items():
            if key[0] in lost_studies or not await self._touch_series(arrival, key, group, is_whole=is_whole):
                lost.add(key)
        return lost

    async def _is_settled(self, institution: str, series_instance_uid: str, group: list[Stored]) -> bool:
        if any(outcome.created for outcome in group):
            return False
        try:
            completed = await self._completed_count(institution, series_instance_uid)
            return completed is not None and completed == await self._count(institution, series_instance_uid)
        except TransientError:
            return False  # touching it will tell

    async def _touch_study(self, arrival: Arrival, study_instance_uid: str) -> bool:
        quiet_s = self._rules.quiet_s + self._rules.study_quiet_s
        try:
            await self._study(Touch(arrival.institution, study_instance_uid, arrival.source, quiet_s))
        except TransientError:
            return False
        return True

    async def _touch_series(
        self, arrival: Arrival, key: tuple[str, str], group: list[Stored], *, is_whole: bool
    ) -> bool:
        study_instance_uid, series_instance_uid = key
        modality = group[0].instance.modality
        expected = max((outcome.instance.expected_instances or 0 for outcome in group), default=0)
        try:
            present = await self._count(arrival.institution, series_instance_uid) if expected else 0
            because = complete_at_once(
                SeriesArrival(modality, arrival.says_complete, arrival.source, expected, present, is_whole),
                self._rules,
            )
            quiet_s = self._rules.quiet_s if because is None else 0.0
            touch = Touch(arrival.institution, study_instance_uid, arrival.source, quiet_s)
            await self._series(touch, series_instance_uid, modality)
        except TransientError:
            return False
        if because is not None:
            self._complete_soon()
        return True
