"""The stages of an attempt as spans and as a metric, so that it can be seen where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram
from radbus_runtime.tracing import tracer

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

stage_seconds = Histogram("radbus_worker_stage_seconds", "Time of a stage.", ["stage"], buckets=_SECONDS)
attempts_ended = Counter("radbus_worker_attempts_total", "Attempts ended.", ["machine", "result"])


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Measure one stage: load, decode, infer, render or store."""
    started = time.monotonic()
    try:
        with tracer.start_as_current_span(f"worker.{name}", record_exception=False, set_status_on_exception=False):
            yield
    finally:
        stage_seconds.labels(name).observe(time.monotonic() - started)
