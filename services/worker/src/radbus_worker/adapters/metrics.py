"""What the workers count; the stages of their attempts are in `radbus_runtime.stages`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

attempts_ended = Counter(
    "radbus_worker_attempts_total", "Attempts ended, by machine and result.", ["machine", "result"]
)
slots_busy = Gauge("radbus_worker_slots_busy", "Slots of this worker in which an attempt runs.")
