"""What the results service counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# The bounds of the objectives in docs/slo.md are among them.
_RESULT_SECONDS = (1, 2.5, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 3600)

accepted_to_result_seconds = Histogram(
    "radbus_accepted_to_result_seconds",
    "From the last instance accepted, or from when somebody asked, to the result recorded, by the records' times.",
    ["use_case"],
    buckets=_RESULT_SECONDS,
)
results_recorded = Counter(
    "radbus_results_recorded_total", "Results recorded, by use case and triage.", ["use_case", "triage"]
)
webhook_call_seconds = Histogram(
    "radbus_webhook_call_duration_seconds",
    "One call of a webhook, until it has answered or not.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
webhook_deliveries_ended = Counter(
    "radbus_webhook_deliveries_ended_total", "Events that a webhook has taken, or that were given up.", ["state"]
)
# Of the database: every replica says the same.
webhook_deliveries_waiting = Gauge(
    "radbus_webhook_deliveries_waiting", "Events that a webhook has not taken yet. Every results replica says the same."
)
oldest_webhook_delivery_seconds = Gauge(
    "radbus_webhook_oldest_waiting_age_seconds",
    "For how long the oldest of them waits; 0 where none does. Every results replica says the same.",
)
# From the start, so that a rate can tell the first failure.
for _state in ("delivered", "failed"):
    webhook_deliveries_ended.labels(_state)
