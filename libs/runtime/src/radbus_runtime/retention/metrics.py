"""What retention counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

purged = Counter(
    "radbus_purged_total", "Erased, by what: instances, bytes, outputs, archives, strays, records.", ["what"]
)
purge_failures = Counter("radbus_purge_failures_total", "Attempts at a purge that failed; each is tried again.")
oldest_overdue = Gauge(
    "radbus_purge_oldest_overdue_seconds",
    "For how long that is overdue which should have been erased first; 0 if none.",
)
