"""What the scheduler counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_WAITS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 1800, 3600)

tasks_now = Gauge("radbus_tasks", "Tasks of active jobs, by state and pool (at most 10,000 jobs).", ["state", "pool"])
oldest_ready_seconds = Gauge("radbus_oldest_ready_task_seconds", "Age of the oldest ready task.", ["pool"])
dispatch_wait_seconds = Histogram(
    "radbus_dispatch_wait_seconds", "From ready to dispatched.", ["pool", "priority"], buckets=_WAITS_S
)
tasks_ended = Counter("radbus_tasks_ended_total", "Tasks that ended, by pool and state.", ["pool", "state"])
jobs_ended = Counter("radbus_jobs_ended_total", "Jobs that ended, by use case and state.", ["use_case", "state"])
attempts_given_up = Counter("radbus_attempts_given_up_total", "Attempts of which nothing more came.", ["pool", "why"])
