"""What the results service counts."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

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
