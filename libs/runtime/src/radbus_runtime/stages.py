"""The stages in which a service works on a series: each is a value of one histogram and a span of its trace.

What waits between two services is measured by the times in the records instead, where it ends: see `metrics`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from radbus_runtime import metrics
from radbus_runtime.tracing import tracer


class Stage(StrEnum):
    """What is done, in the order in which a series meets it."""

    STORE = "store"  # ingest: one instance read, its bytes and its record written
    COMPLETE = "complete"  # ingest: the headers of a quiet series summed up, its revision written
    ROUTE = "route"  # router: its header read, every condition asked, the decision written
    LOAD = "load"  # worker: objects fetched
    PREPROCESS = "preprocess"  # worker: instances sorted and decoded into a volume
    INFER = "infer"  # worker: the machine has it, its calls of Triton included
    RENDER = "render"  # worker: outputs made
    REPORT = "report"  # worker: the report made in all its forms
    KEEP = "keep"  # worker: outputs written to the object store
    CONCLUDE = "conclude"  # results: outcomes read, the inference and the case written


@contextmanager
def stage(name: Stage, *, machine: str = "") -> Iterator[None]:
    """Measure one stage, also where it fails, in a span; `machine` is of the worker's stages only."""
    with (
        tracer.start_as_current_span(
            name.value,
            attributes={"radbus.machine": machine} if machine else None,
            record_exception=False,
            set_status_on_exception=False,
        ),
        timed(name, machine=machine),
    ):
        yield


@contextmanager
def timed(name: Stage, *, machine: str = "") -> Iterator[None]:
    """Measure one stage without a span: of what is done for each of a thousand instances, the request's span tells."""
    started = time.monotonic()
    try:
        yield
    finally:
        metrics.stage_seconds.labels(name.value, machine).observe(time.monotonic() - started)
