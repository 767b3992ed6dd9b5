"""When an attempt is given up: its lease is stale, nobody has taken it, or it takes too long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from radbus_scheduler.domain.job import Task, TaskState

GIVEN_BACK = "given back"
_WORKER_LOST = "its worker was lost"


@dataclass(frozen=True, slots=True)
class Limits:
    """The times that bound an attempt, beside the machine's own timeout."""

    lease_stale_s: float
    start_timeout_s: float
    overrun_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's claim on an attempt."""

    attempt: int
    worker: str
    until: datetime
    released: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a task in flight, apart from its record.

    `idle_since`: since when its pool has had a free slot all the time; None while it has none, for then an
    order that nobody takes is only waiting its turn.
    """

    lease: Lease | None
    has_outcome: bool
    idle_since: datetime | None


@dataclass(frozen=True, slots=True)
class Started:
    """A worker runs it, though its message has not come."""

    worker: str


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Its worker was told to stop and has returned it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing more will come of this attempt."""

    reason: str


Finding = Started | GivenBack | Lost


def reasons(timeout_s: float, limits: Limits) -> Iterator[str]:
    """Give every reason for which an attempt of a machine with this timeout may be given up."""
    yield from (GIVEN_BACK, _WORKER_LOST, _too_long(timeout_s), _not_taken(limits))


def judge(task: Task, evidence: Evidence, *, limits: Limits, now: datetime) -> Finding | None:
    """Say what has become of a task in flight, or None where all is well or may yet be."""
    # The worker ends it at the timeout and says so; the overrun is the time that it has for saying it.
    if task.started_at is not None and _passed(task.started_at, task.timeout_s + limits.overrun_s, now):
        return Lost(_too_long(task.timeout_s))
    if evidence.has_outcome:
        return None  # its fact is on the way, by an outbox
    lease = evidence.lease
    if lease is not None and lease.attempt == task.attempt:
        return _judge_lease(task, lease, limits, now)
    return _judge_start(task, evidence, limits, now)


def _judge_lease(task: Task, lease: Lease, limits: Limits, now: datetime) -> Finding | None:
    if lease.released:
        return GivenBack()
    if _passed(lease.until, limits.lease_stale_s, now):
        return Lost(_WORKER_LOST)
    return Started(lease.worker) if task.state is TaskState.DISPATCHED else None


def _judge_start(task: Task, evidence: Evidence, limits: Limits, now: datetime) -> Finding | None:
    if task.started_at is not None:
        return Lost(_WORKER_LOST) if _passed(task.started_at, limits.start_timeout_s, now) else None
    if task.dispatched_at is None or evidence.idle_since is None:
        return None
    since = max(task.dispatched_at, evidence.idle_since)
    if _passed(since, limits.start_timeout_s, now):
        return Lost(_not_taken(limits))
    return None


def _too_long(timeout_s: float) -> str:
    return f"took longer than {timeout_s:g} s"


def _not_taken(limits: Limits) -> str:
    return f"no worker took it in {limits.start_timeout_s:g} s"


def _passed(since: datetime, seconds: float, now: datetime) -> bool:
    return now > since + timedelta(seconds=seconds)
