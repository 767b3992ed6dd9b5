"""What the scheduler counts."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram
from radbus_machines.manifest import MachineManifest

from radbus_scheduler.domain.job import JobState
from radbus_scheduler.domain.limits import Limits, reasons

_WAITS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

# Of the database, not of this process: every replica says the same, so take the largest of them and never their sum.
tasks_now = Gauge(
    "radbus_tasks",
    "Tasks of active jobs, by pool and state: waiting (for other tasks), ready (for a slot), dispatched, running; "
    "at most 10,000 jobs are counted. Every scheduler replica says the same.",
    ["state", "pool"],
)
oldest_ready_seconds = Gauge(
    "radbus_oldest_ready_task_age_seconds",
    "For how long the oldest task that is ready has waited for a slot; 0 where none waits. "
    "Every scheduler replica says the same.",
    ["pool"],
)
worker_slots = Gauge(
    "radbus_worker_slots",
    "Slots of the live workers, by pool. Every scheduler replica says the same.",
    ["pool"],
)
queue_wait_seconds = Histogram(
    "radbus_task_queue_wait_seconds",
    "From ready to dispatched, by the times in the job's record.",
    ["pool", "priority"],
    buckets=_WAITS_S,
)
dispatch_seconds = Histogram(
    "radbus_task_dispatch_duration_seconds",
    "From dispatched to started by a worker, by the times in the job's record.",
    ["pool"],
    buckets=_WAITS_S,
)
tasks_ended = Counter("radbus_tasks_ended_total", "Tasks that ended, by pool and state.", ["pool", "state"])
jobs_ended = Counter("radbus_jobs_ended_total", "Jobs that ended, by use case and state.", ["use_case", "state"])
attempts_given_up = Counter("radbus_attempts_given_up_total", "Attempts of which nothing more came.", ["pool", "why"])


def expect_ends(use_case: str) -> None:
    """Show how often jobs of a use case have ended before one has, so that a rate can tell the first failure."""
    for state in JobState:
        if state is not JobState.ACTIVE:
            jobs_ended.labels(use_case, state.value)


def expect_losses(machines: Iterable[MachineManifest], limits: Limits) -> None:
    """Show how many attempts were given up before one was, by all pools and reasons of these machines."""
    for machine in machines:
        for why in reasons(machine.timeout_s, limits):
            attempts_given_up.labels(machine.pool, why)
