"""A case: what is known of one series, and from it how each of its use cases stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby

from radbus_contracts.facts import Scope, TriageStatus


@dataclass(frozen=True, slots=True)
class Completed:
    """A result is there."""

    inference_id: str
    triage: TriageStatus
    usable: bool
    completed_at: datetime


@dataclass(frozen=True, slots=True)
class Failed:
    """A job has ended without a result."""

    job_id: str
    use_case: str
    reason: str
    cancelled: bool
    failed_at: datetime
    retries: int = 0


@dataclass(frozen=True, slots=True)
class UnderProcess:
    """Something is still to be done; there may be no job yet."""

    job_id: str | None = None
    subject_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Undecided:
    """Complete, but no job has been seen for this revision: the routing's record says more."""

    series_instance_uid: str
    revision: int


@dataclass(frozen=True, slots=True)
class OnRequest:
    """The use case computes only when somebody asks for this series or study, and nobody has."""

    uid: str


@dataclass(frozen=True, slots=True)
class Unrouted:
    """No use case is for these images."""

    reason: str


Standing = Completed | Failed | UnderProcess | Undecided | OnRequest | Unrouted


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEntry:
    """What a case knows of one job; facts come in any order, so each part may be missing for a while."""

    job_id: str
    use_case: str
    scope: Scope
    revision: int
    run: int = 1
    retries: int = 0
    requested_at: datetime | None = None
    completed: Completed | None = None
    failed: Failed | None = None

    @property
    def standing(self) -> Completed | Failed | UnderProcess:
        """Say how the job stands; a result outweighs a failure, and a retry the failures before it."""
        if self.completed:
            return self.completed
        return self.failed if self.failed and self.failed.retries >= self.retries else UnderProcess(self.job_id)

    @property
    def order(self) -> tuple[int, datetime]:
        """Sort runs of the same revision by their age."""
        ended_at = self.completed.completed_at if self.completed else self.failed.failed_at if self.failed else None
        return self.run, self.requested_at or ended_at or datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that the facts have told of one series."""

    study_instance_uid: str
    series_instance_uid: str
    revision: int = 0
    unrouted: Mapping[int, str] = field(default_factory=dict)
    jobs: tuple[JobEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Intake:
    """How far a series' or a study's own record has come: a late instance opens it again before any fact says so."""

    receiving: bool = False
    revision: int = 0


def standings(case: Case, *, series: Intake, study: Intake) -> tuple[Standing, ...]:
    """Say how each use case of a series stands, by its newest revision only."""
    own = [job for job in case.jobs if job.scope is Scope.SERIES]
    wide = [job for job in case.jobs if job.scope is Scope.STUDY]
    return (*_of_series(case, own, series), *_of_study(wide, study))


def _of_series(case: Case, jobs: Sequence[JobEntry], series: Intake) -> Iterable[Standing]:
    revision = max(series.revision, case.revision, *case.unrouted, *(job.revision for job in jobs), 0)
    if series.receiving or revision == 0:
        return (UnderProcess(subject_uid=case.series_instance_uid),)
    current = [_newest(runs) for runs in _by_use_case(jobs, revision)]
    if current:
        return current
    if revision in case.unrouted:
        return (Unrouted(case.unrouted[revision]),)
    return (Undecided(case.series_instance_uid, revision),)


def _of_study(jobs: Sequence[JobEntry], study: Intake) -> Iterable[Standing]:
    if not jobs:
        return ()
    revision = max(study.revision, *(job.revision for job in jobs))
    current = [_newest(runs) for runs in _by_use_case(jobs, revision)]
    return current if current and not study.receiving else (UnderProcess(),)


def _by_use_case(jobs: Iterable[JobEntry], revision: int) -> list[list[JobEntry]]:
    wanted = sorted((job for job in jobs if job.revision == revision), key=lambda job: job.use_case)
    return [list(runs) for _, runs in groupby(wanted, key=lambda job: job.use_case)]


def _newest(runs: Sequence[JobEntry]) -> Standing:
    """Choose among runs on the same images: the last one counts, but its failure does not undo an earlier result."""
    ordered = sorted(runs, key=lambda job: job.order)
    last = ordered[-1].standing
    if isinstance(last, Failed):
        results = [job.completed for job in ordered if job.completed is not None]
        return results[-1] if results else last
    return last
