"""Touch the series and studies of what was stored: from then on something will complete them, whoever dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from radbus_contracts.errors import TransientError

from radbus_ingest.adapters.records import Touch
from radbus_ingest.domain.completeness import CompletenessRules, SeriesArrival, complete_at_once
from radbus_ingest.domain.outcomes import Arrival, Stored
from radbus_ingest.handlers.sharing import SharedWrites


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


class WasPurged(Protocol):
    """Tells whether a study was being purged."""

    async def __call__(self, institution: str, study_instance_uid: str, *, last_s: float) -> bool:
        """Say so of any time of the last so many seconds; raise TransientError when the store is away."""
        ...


class Toucher:
    """Touches each study and each series of a request once, after its instances are recorded.

    A duplicate touches its series too, since whoever stored it may have died before the touch; unless the series was
    completed with all that there is: then it must not be under process again for nothing.

    What was recorded while its study was being purged may be gone again, or its object: it is not accepted. Asked after
    the touch: a purge begins by saying so and does not go on where something was touched, so one sees the other.
    """

    def __init__(
        self,
        rules: CompletenessRules,
        *,
        touch_series: TouchSeries,
        touch_study: TouchStudy,
        count: Count,
        completed_count: CompletedCount,
        was_purged: WasPurged,
        complete_soon: Callable[[], None],
    ) -> None:
        self._series = touch_series
        self._study = touch_study
        self._rules = rules
        self._count = count
        self._completed_count = completed_count
        self._was_purged = was_purged
        self._complete_soon = complete_soon
        # A series whose instances come in a request each is touched by many at the same time.
        self._shared = SharedWrites()

    async def touch(
        self, arrival: Arrival, stored: Iterable[Stored], *, began: float, is_whole: bool = True
    ) -> set[tuple[str, str]]:
        """Touch all that was stored since `began` (monotonic); return the (study, series) UIDs that are not safe.

        A request that is not whole will come again: what it says of being complete does not hold yet.
        """
        groups: dict[tuple[str, str], list[Stored]] = {}
        for outcome in stored:
            key = (outcome.instance.study_instance_uid, outcome.instance.series_instance_uid)
            groups.setdefault(key, []).append(outcome)
        every = set(groups)
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
        purged = {study for study, _ in every if not await self._is_safe(arrival.institution, study, began)}
        return lost | {key for key in every if key[0] in purged}

    async def _is_safe(self, institution: str, study_instance_uid: str, began: float) -> bool:
        try:
            return not await self._was_purged(institution, study_instance_uid, last_s=time.monotonic() - began)
        except TransientError:
            return False

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
            touch = Touch(arrival.institution, study_instance_uid, arrival.source, quiet_s)
            await self._shared(touch, lambda: self._study(touch))
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
            same = (touch, series_instance_uid, modality)
            await self._shared(same, lambda: self._series(touch, series_instance_uid, modality))
        except TransientError:
            return False
        if because is not None:
            self._complete_soon()
        return True
