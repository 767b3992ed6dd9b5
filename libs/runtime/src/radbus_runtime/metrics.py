"""Prometheus metrics that every service has."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram
from radbus_contracts.topology import EVENTS, RETRY_STEPS_S, TASKS, retry_exchange

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# From a header read in 1 ms to the longest time that a machine may take.
_STAGE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900)

stage_seconds = Histogram(
    "radbus_stage_duration_seconds",
    "Time of one stage of a series' way; `machine` is of the worker's stages.",
    ["stage", "machine"],
    buckets=_STAGE_SECONDS,
)
http_seconds = Histogram(
    "radbus_http_request_duration_seconds",
    "Time to answer a request, by its route and never by its address; health and metrics are not counted.",
    ["service", "method", "route", "status"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)

messages_settled = Counter(
    "radbus_messages_settled_total", "Messages settled, by queue and outcome.", ["queue", "outcome"]
)
message_seconds = Histogram("radbus_message_duration_seconds", "Time to settle a message.", ["queue"], buckets=_SECONDS)
publish_seconds = Histogram(
    "radbus_publish_duration_seconds", "Time until the broker confirmed.", ["exchange"], buckets=_SECONDS
)
publish_failures = Counter("radbus_publish_failures_total", "Publishes that were not confirmed.", ["exchange"])
ready = Gauge("radbus_ready", "1 where all is well, as /readyz says it.", ["service", "check"])
dead_letters = Gauge("radbus_dead_letters", "Messages that nobody could settle, by queue.", ["queue"])
queue_messages = Gauge(
    "radbus_queue_messages", "Messages that wait in a queue. Every replica of its service says the same.", ["queue"]
)
outbox_swept = Counter("radbus_outbox_swept_total", "Outbox entries that only the sweep has sent.", ["collection"])
requests_crowded_out = Counter(
    "radbus_http_requests_crowded_out_total", "Requests refused because too many were being answered."
)
connections_refused = Counter(
    "radbus_http_connections_refused_total", "Connections closed at once because too many were open."
)
# From the start, so that a rate can tell the first failure.
for _exchange in (EVENTS, TASKS, "", *map(retry_exchange, RETRY_STEPS_S)):
    publish_failures.labels(_exchange)
