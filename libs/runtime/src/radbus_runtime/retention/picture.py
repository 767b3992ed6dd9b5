"""What is known of a study, or of a run, when it is asked what of it is due, and whether it may be erased now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from radbus_runtime.retention.policy import Kept, RetentionPolicy

# What has not happened by then will not: a message waits for a day at most before it is among the dead letters.
_SETTLED_AFTER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSeen:
    """A series: when something of it came last, and whether there is anything left of it."""

    uid: str
    receiving: bool
    erased: bool
    routed: bool
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSeen:
    """A job, and how far the news of it have come; without a use case it was asked for and is not made yet."""

    id: str
    use_case: str | None
    subject_uid: str
    revision: int
    series_instance_uids: tuple[str, ...]
    asked_at: datetime
    ended_at: datetime | None
    erased: bool
    recorded: bool = True  # results know that it has ended
    running: bool = False  # a worker is still at it

    def busy(self, now: datetime) -> str | None:
        """Say what is still going on with it, or None."""
        recent = now - _SETTLED_AFTER
        if self.use_case is None:
            return f"the job {self.id} is asked for and not made yet" if self.asked_at > recent else None
        if self.ended_at is None:
            return f"the job {self.id} is under process"
        if self.running:
            return f"a worker is still at an attempt of the job {self.id}"
        if not self.recorded and self.ended_at > recent:
            return f"the end of the job {self.id} is not recorded yet"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that is known of one study or run; `use_case` is that of what no job is for."""

    institution: str
    study_instance_uid: str
    last_at: datetime
    series: tuple[SeriesSeen, ...] = ()
    jobs: tuple[JobSeen, ...] = ()
    receiving: bool = False
    untold: bool = False
    use_case: str | None = None

    def about(self, series_instance_uid: str) -> Picture:
        """Return what of this concerns one series; jobs that are not made yet may."""
        jobs = tuple(job for job in self.jobs if job.use_case is None) + self.of_series(series_instance_uid)
        series = tuple(each for each in self.series if each.uid == series_instance_uid)
        return replace(self, jobs=jobs, series=series)

    def of_series(self, series_instance_uid: str) -> tuple[JobSeen, ...]:
        """Return the jobs that have seen a series."""
        return tuple(job for job in self.jobs if series_instance_uid in job.series_instance_uids)

    def busy(self, now: datetime) -> str | None:
        """Say why nothing of this may be erased now, or None."""
        if self.receiving or any(series.receiving for series in self.series):
            return "instances are still coming in"
        reasons = (job.busy(now) for job in self.jobs)
        if (reason := next(filter(None, reasons), None)) is not None:
            return reason
        if self.untold:
            return "a fact of it is not told yet"
        if any(not series.routed and series.last_at > now - _SETTLED_AFTER for series in self.series):
            return "a series is not routed yet"
        return None


@dataclass(frozen=True, slots=True)
class Dues:
    """When what of a study or run is due to be erased; None is never, or gone already."""

    inputs_at: datetime | None
    outputs_at: dict[str, datetime]  # by job
    records_at: datetime | None

    def until(self, now: datetime) -> datetime | None:
        """Return when the next thing is due after now."""
        later = [at for at in (self.inputs_at, self.records_at, *self.outputs_at.values()) if at and at > now]
        return min(later, default=None)


def dues_of(picture: Picture, policy: RetentionPolicy) -> Dues:
    """Say when what is due: inputs with the last of the use cases that saw them, records with the last of all."""
    made = [job for job in picture.jobs if job.use_case is not None]
    ends = [(job, job.ended_at) for job in made if job.ended_at is not None]
    kept = {job.id: policy.kept(picture.institution, job.use_case) for job in made}
    otherwise = policy.kept(picture.institution, picture.use_case)
    outputs_at = {
        job.id: at for job, end in ends if not job.erased and (at := _after(end, kept[job.id].outputs_days)) is not None
    }
    if len(ends) < len(made):  # nothing else is due while a job is active
        return Dues(None, outputs_at, None)
    left = [series for series in picture.series if not series.erased]
    inputs_at = _last(_series_due(picture, series, kept, otherwise) for series in left) if left else None
    by_job = [_after(max(end, picture.last_at), kept[job.id].records_days) for job, end in ends]
    unseen = [series for series in picture.series if not picture.of_series(series.uid)]
    if unseen or not by_job:
        by_job.append(_after(picture.last_at, otherwise.records_days))
    return Dues(inputs_at, outputs_at, _last(by_job))


def _series_due(picture: Picture, series: SeriesSeen, kept: dict[str, Kept], otherwise: Kept) -> datetime | None:
    jobs = [job for job in picture.of_series(series.uid) if job.use_case is not None]
    if not jobs:
        return _after(series.last_at, otherwise.inputs_days)
    return _last(_after(max(job.ended_at or series.last_at, series.last_at), kept[job.id].inputs_days) for job in jobs)


def _after(at: datetime, days: int | None) -> datetime | None:
    return None if days is None else at + timedelta(days=days)


def _last(times: Iterable[datetime | None]) -> datetime | None:
    """Return the latest; None, which is never, is later than any."""
    given = list(times)
    return None if None in given else max((at for at in given if at is not None), default=None)
