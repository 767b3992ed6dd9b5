"""What one study costs: processor, operations, messages, bytes (`make bench-cost`; `radbus sizing` reckons with it).

Each kind is measured at two sizes, so that what it costs at all is told apart from what each instance costs. What the
stack does when nobody sends anything is measured before and taken away.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from pydicom.uid import generate_uid
from pymongo import MongoClient
from radbus_cli.local.stack import LocalStack
from radbus_testing.drawn_chest import drawn_chest
from radbus_testing.head_phantom import LEFT_BLOOD, HeadPhantom, head_phantom
from radbus_testing.phantom import chest_phantom
from radbus_testing.radiograph_dicom import RadiographHeader, radiograph_instance
from radbus_testing.waiting import eventually
from rich.console import Console
from rich.table import Table

from tests.bench.engine_counters import counted

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
STUDIES = int(os.environ.get("RADBUS_BENCH_STUDIES", "5"))
IDLE_S = 20.0
SETTLED_S = 3.0
ASKED_EVERY_S = 2.0
UNDER_WAY, NOT_FOUND = 202, 404


class Sent(Protocol):
    """A series, ready to be sent."""

    uid: str
    instances: list[bytes]


@dataclass(frozen=True, slots=True)
class Radiographs:
    """A study of so many views of a chest, as large as detectors make them."""

    uid: str
    instances: list[bytes]


def radiographs(_: Any, count: int) -> Radiographs:
    study, series = generate_uid(), generate_uid()
    large = np.kron(drawn_chest(), np.ones((3, 3), np.float32))
    headers = (
        RadiographHeader(
            study_instance_uid=study, series_instance_uid=series, spacing_mm=0.2, view_position=("PA", "AP")[number]
        )
        for number in range(count)
    )
    return Radiographs(series, [radiograph_instance(large, header) for header in headers])


@dataclass(frozen=True, slots=True)
class Kind:
    """Studies of one series for one use case, and the sizes at which they are measured."""

    use_case: str
    sizes: tuple[int, int]
    # Makes the instances of one study, by `make_series` or without.
    study: Callable[[Any, int], Sent]


def bleeding_head(slices: int) -> HeadPhantom:
    return head_phantom(slices=slices, rows=512, blood=(LEFT_BLOOD,))


HEAD = {"body_part": "HEAD", "study_description": "CT head phantom"}
FOOT = {"body_part": "FOOT", "study_description": "CT foot"}
KINDS = (
    Kind("qct", (40, 120), lambda make, slices: make(chest_phantom(slices=slices, rows=512))),
    Kind("qer", (20, 40), lambda make, slices: make(bleeding_head(slices), **HEAD)),
    Kind("qxr", (1, 2), radiographs),
    Kind("not_implemented", (2, 40), lambda make, slices: make(chest_phantom(slices=slices, rows=512), **FOOT)),
)


def test_what_a_study_costs(radbus, hospital, make_series):
    idle = _idle_a_second(radbus)

    rows = [row for kind in KINDS for row in _of(kind, radbus, hospital, make_series, idle)]

    measured = {"measured": _where(), "kinds": rows}
    (ROOT / "bench-cost.json").write_text(json.dumps(measured, indent=1) + "\n")
    _print(rows)


def _of(
    kind: Kind, radbus: LocalStack, hospital: Any, make_series: Any, idle: Counter[str]
) -> Iterator[dict[str, Any]]:
    for size in kind.sizes:
        series = [kind.study(make_series, size) for _ in range(STUDIES + 1)]
        _send(hospital, series[:1])  # the first warms up
        time.sleep(SETTLED_S)
        before, began = counted(radbus), time.monotonic()
        _send(hospital, series[1:])
        time.sleep(SETTLED_S)
        after, passed_s = counted(radbus), time.monotonic() - began
        costs = {name: (after[name] - before[name] - idle[name] * passed_s) / STUDIES for name in sorted(after)}
        yield {
            "use_case": kind.use_case,
            "instances": size,
            "size_bytes": sum(len(each) for each in series[1].instances),
            "costs": {name: _rounded(max(0.0, value)) for name, value in costs.items()},
            "worker_s": _worker_s(radbus, [each.uid for each in series[1:]]),
        }


def _send(hospital: Any, series: list[Any]) -> None:
    for each in series:
        hospital.upload(each.instances)
        # Asked seldom: it is the study that is measured, and not the asking.
        eventually(partial(_has_ended, hospital, each.uid), timeout_s=300, what="end of a study", every_s=ASKED_EVERY_S)


def _has_ended(hospital: Any, uid: str) -> bool:
    return hospital.results(uid).status_code not in (UNDER_WAY, NOT_FOUND)


def _idle_a_second(radbus: LocalStack) -> Counter[str]:
    time.sleep(SETTLED_S)
    before, began = counted(radbus), time.monotonic()
    time.sleep(IDLE_S)
    after, passed_s = counted(radbus), time.monotonic() - began
    return Counter({name: (after[name] - before[name]) / passed_s for name in after if "stored" not in name})


def _worker_s(radbus: LocalStack, uids: list[str]) -> list[float]:
    """How long each study's tasks kept a worker's slot, together; nothing where no machine looked at it."""
    environment = radbus.environment()

    def ended() -> tuple[list[dict[str, Any]]] | None:
        jobs = list(collection.find({"subject_uid": {"$in": uids}}))
        return (jobs,) if all(job["state"] == "completed" for job in jobs) else None

    with MongoClient(environment["RADBUS_MONGO_URL"]) as client:
        collection = client[environment["RADBUS_MONGO_DATABASE"]]["jobs"]
        (jobs,) = eventually(ended, timeout_s=60, what="end of the jobs")
    return [
        round(sum((task["finished_at"] - task["started_at"]).total_seconds() for task in job["tasks"]), 3)
        for job in jobs
    ]


def _rounded(value: float) -> float:
    return round(value, 4) if value < 100 else round(value)


def _where() -> dict[str, object]:
    load = os.getloadavg()[1]
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": "make bench-cost",
        "processor": next(
            (
                line.split(":", 1)[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if "model name" in line
            ),
            platform.machine(),
        ),
        "processors": os.cpu_count(),
        "load_average": round(load, 1),
        "studies": STUDIES,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("a study", *(f"{row['use_case']} {row['instances']}" for row in rows))
    for name in sorted({name for row in rows for name in row["costs"]}):
        table.add_row(name, *(f"{row['costs'].get(name, 0):g}" for row in rows))
    table.add_row("worker_s", *(f"{sum(row['worker_s']) / max(1, len(row['worker_s'])):.2f}" for row in rows))
    Console(width=140).print(table)
