"""Asking for the computation of what was uploaded: which jobs are pushed, and what the answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from radbus_contracts import identity
from radbus_contracts.facts import JobRequestedV1

RUN_LIMIT = 100
"""How often one use case is computed for one revision of its subject."""


@dataclass(frozen=True, slots=True)
class Intake:
    """How far the record of a series or study has come; `revision` is 0 until it has been complete once."""

    uid: str
    receiving: bool
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A use case that matches; `place` is where its decision stands, `runs` how often its job was pushed."""

    place: int
    runs: int
    job: JobRequestedV1

    def next_job(self, institution: str) -> JobRequestedV1:
        """Make the request for the next run: the first is the job as it was decided, each later one has its own id."""
        run = self.runs + 1
        return self.job.model_copy(update={"job_id": self.id_of_run(institution, run), "run": run, "accepted_at": None})

    def id_of_run(self, institution: str, run: int) -> str:
        """Make the id of the job of one run."""
        return identity.job_id(
            institution=institution,
            use_case=self.job.use_case,
            version=self.job.use_case_version,
            subject_uid=self.job.subject_uid,
            revision=self.job.revision,
            run=run,
        )

    def run_of(self, institution: str, job_id: str) -> int | None:
        """Say which run, of those that were pushed, a job is."""
        runs = range(1, self.runs + 1)
        return next((run for run in runs if self.id_of_run(institution, run) == job_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided for one revision of a subject."""

    id: str
    institution: str
    subject_uid: str
    revision: int
    reason: str | None
    matches: tuple[Match, ...]

    def wanted(self, *, recompute: bool) -> tuple[Match, ...]:
        """Choose what to push: what never was, or everything that may be pushed once more."""
        return tuple(each for each in self.matches if each.runs < (RUN_LIMIT if recompute else 1))


@dataclass(frozen=True, slots=True)
class Upload:
    """What a UID stands for: a series (also by one of its instances) or a study, with what is to be computed of it."""

    uid: str
    study: Intake
    series: tuple[Intake, ...]


@dataclass(frozen=True, slots=True)
class NotUploaded:
    """There is nothing of this UID, or it is another institution's."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """These jobs are asked for; with none, they will be as soon as it is decided which."""

    job_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlreadyPushed:
    """Every job was asked for before."""


@dataclass(frozen=True, slots=True)
class TooOften:
    """Every job was asked for as often as it may be."""


@dataclass(frozen=True, slots=True)
class NotNewest:
    """The job that is to run once more is none of the newest revision of what was asked for."""


@dataclass(frozen=True, slots=True)
class NoUseCase:
    """Nothing is to be computed."""

    reason: str


Answer = NotUploaded | Pushed | AlreadyPushed | TooOften | NoUseCase
RerunAnswer = NotUploaded | Pushed | TooOften | NotNewest


def is_awaited(upload: Upload, decided: Mapping[str, Decided], *, studies_are_routed: bool) -> bool:
    """Say whether what was asked for is still to be decided, also for instances that came after the last decision.

    Where a series was asked for and has jobs, they are the answer, whatever its study comes to.
    """
    if any(each.receiving or _revision(decided, each) < each.revision for each in upload.series):
        return True
    answered = upload.uid != upload.study.uid and any(each.matches for each in decided.values())
    if answered or not studies_are_routed:
        return False
    # A complete study without a decision gets none: there was no use case of that scope when it was complete.
    return upload.study.receiving or 0 < _revision(decided, upload.study) < upload.study.revision


def conclude(
    decided: Mapping[str, Decided], pushed: Sequence[JobRequestedV1], *, awaited: bool, recompute: bool
) -> Answer:
    """Say what has become of a request; `decided` holds the newest decision about each subject that has one."""
    if pushed or awaited:
        return Pushed(tuple(job.job_id for job in pushed))
    if any(each.matches for each in decided.values()):
        return TooOften() if recompute else AlreadyPushed()
    reasons = dict.fromkeys(each.reason for each in decided.values() if each.reason)
    return NoUseCase(" ".join(reasons) or "no use case is for these images")


def _revision(decided: Mapping[str, Decided], intake: Intake) -> int:
    return decided[intake.uid].revision if intake.uid in decided else 0
