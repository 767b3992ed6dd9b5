"""What is to be erased, and the plan of it: which series, jobs and inferences go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from radbus_contracts.identity import inference_id

from radbus_runtime.retention.picture import JobSeen, Picture


class Kind(StrEnum):
    """What a purge is about."""

    STUDY = "study"
    SERIES = "series"
    RUN = "run"


class What(StrEnum):
    """What of it goes; records go together with all that they tell of."""

    INPUTS = "inputs"  # instances, their records and all header elements
    OUTPUTS = "outputs"  # derived objects, and what was found
    RECORDS = "records"


EVERYTHING = (What.INPUTS, What.OUTPUTS, What.RECORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A deletion that is asked for, by the policy or by an operator."""

    institution: str
    kind: Kind
    subject_uid: str
    study_instance_uid: str
    what: tuple[What, ...]
    by: str
    reason: str
    by_policy: bool = False
    job_ids: tuple[str, ...] | None = None
    due_at: datetime | None = None

    @classmethod
    def of(cls, record: dict[str, Any]) -> Order:
        """Read what a purge's record was made from."""
        given = {name: record[name] for name in cls.__slots__}
        what = tuple(What(each) for each in given["what"])
        job_ids = None if given["job_ids"] is None else tuple(given["job_ids"])
        return cls(**{**given, "kind": Kind(given["kind"]), "what": what, "job_ids": job_ids})

    @property
    def locks(self) -> bool:
        """Say whether instances go, so that none may arrive meanwhile."""
        return self.kind is not Kind.RUN and (What.INPUTS in self.what or What.RECORDS in self.what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """An inference whose outputs go, as subscribers are told of it."""

    job_id: str
    use_case: str
    subject_uid: str
    revision: int
    series_instance_uids: tuple[str, ...]

    @property
    def id(self) -> str:
        """The inference's own id."""
        return inference_id(self.job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes by name, written down before the first byte of it does."""

    order: Order
    series: tuple[str, ...]
    jobs: tuple[Gone, ...]

    @property
    def whole_study(self) -> bool:
        """Say whether nothing of the study stays, as far as this purge is about it."""
        return self.order.kind is Kind.STUDY

    @property
    def study_prefix(self) -> str:
        """The beginning of the keys of all of the study's instances."""
        return f"{self.order.institution}/instances/{self.order.study_instance_uid}/"

    @property
    def instance_prefixes(self) -> tuple[str, ...]:
        """The beginnings of the keys of the instances that go."""
        if self.whole_study:
            return (self.study_prefix,)
        return tuple(f"{self.study_prefix}{uid}/" for uid in self.series)

    @property
    def archive_prefixes(self) -> tuple[str, ...]:
        """The beginnings of the keys of archives: those made of these series, or the zip that a run came with."""
        if self.order.kind is Kind.RUN:
            return (f"{self.order.institution}/runs/{self.order.subject_uid}/",)
        return tuple(f"{self.order.institution}/archives/{uid}/" for uid in self.series)

    def derived_prefix(self, job_id: str) -> str:
        """Begin the keys of all that a job made."""
        return f"{self.order.institution}/derived/{job_id}/"

    def document(self) -> dict[str, Any]:
        """Return the plan as the purge's record holds it."""
        return {"series": list(self.series), "jobs": [asdict(job) for job in self.jobs]}

    @classmethod
    def of(cls, order: Order, document: dict[str, Any]) -> Plan:
        """Read a plan back."""
        jobs = [{**job, "series_instance_uids": tuple(job["series_instance_uids"])} for job in document["jobs"]]
        return cls(order=order, series=tuple(document["series"]), jobs=tuple(Gone(**job) for job in jobs))


def plan_of(order: Order, picture: Picture) -> Plan:
    """Say what goes, by the picture of the study or run that is locked now."""
    match order.kind:
        case Kind.SERIES:
            series: Sequence[str] = (order.subject_uid,)
            jobs: Sequence[JobSeen] = picture.of_series(order.subject_uid)
        case _:
            series, jobs = tuple(each.uid for each in picture.series), picture.jobs
    made = [job for job in jobs if job.use_case is not None]
    if What.OUTPUTS not in order.what:
        made = []
    elif order.job_ids is not None and What.RECORDS not in order.what:
        made = [job for job in made if job.id in order.job_ids]
    return Plan(order=order, series=tuple(series), jobs=tuple(_gone(job) for job in made))


def why_not_yet(plan: Plan, picture: Picture, now: datetime) -> str | None:
    """Say what of the plan is under process, or may come to it: somebody asked for a job since it was made; or None."""
    order = plan.order
    if What.OUTPUTS not in order.what:
        return None
    planned = {job.job_id for job in plan.jobs}
    # What tells that its end is recorded may be erased already, and its record while a routing still names it.
    ours = [replace(job, recorded=True) for job in picture.jobs if job.id in planned and job.use_case is not None]
    named_only = order.job_ids is not None and What.RECORDS not in order.what
    others = [] if named_only else [job for job in picture.jobs if job.id not in planned]
    return next(filter(None, (job.busy(now) for job in (*ours, *others))), None)


def with_newer(plan: Plan, picture: Picture) -> Plan:
    """Add the jobs to a plan that have come since it was made."""
    planned = {job.job_id for job in plan.jobs}
    newer = tuple(job for job in plan_of(plan.order, picture).jobs if job.job_id not in planned)
    return replace(plan, jobs=plan.jobs + newer)


def _gone(job: JobSeen) -> Gone:
    return Gone(
        job_id=job.id,
        use_case=job.use_case or "",
        subject_uid=job.subject_uid,
        revision=job.revision,
        series_instance_uids=job.series_instance_uids,
    )
