"""What gives when more comes than can be taken (`make bench-load`): the door, and nothing behind it.

Loopback only. First ever more clients send CT instances, one a request; then a flood of series meets an ingest with
one limit set so low that it is reached. Measured is printed and written to a file; asserted are only the promises:
every answer is a success or a 503 that says when to come again, no program dies, and all that was accepted ends.
"""

from __future__ import annotations

import asyncio
import csv
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.uid import generate_uid
from radbus_cli.local.stack import LocalStack
from radbus_testing.phantom import chest_phantom
from radbus_testing.programs import service_running
from rich.console import Console
from rich.table import Table

from tests.bench.programs_watched import Watched
from tests.chaos.books import Accepted
from tests.chaos.conftest import instances_of
from tests.chaos.flood import Flood, Told
from tests.chaos.ledger import settle

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
STEP_S = float(os.environ.get("RADBUS_BENCH_STEP_S", "10"))
FLOOD_S = float(os.environ.get("RADBUS_BENCH_FLOOD_S", "60"))
STEPS = (2, 4, 8, 16, 32, 64)  # clients
FLOOD_CLIENTS = 24
FLOOD_SERIES = 400  # at most, in one flood
SETTLE_S = 900
# Far above what ingest takes (tests/bench/test_upload_memory.py), far below what a flood could bring.
INGEST_LIMIT_MIB = 600

CALM = {"RADBUS_REQUESTS_LIMIT": "16", "RADBUS_ADMISSION_WAIT_S": "0.5", "RADBUS_RETRY_AFTER_LEAST_S": "1"}
FLOODS: Mapping[str, Mapping[str, str]] = {
    "tasks": {"RADBUS_TASKS_WAITING_LIMIT": "20"},
    "bytes": {"RADBUS_IN_FLIGHT_LIMIT_BYTES": str(4 * 1024**2)},
    "disk": {"RADBUS_SPOOL_MEMORY_BYTES": "0", "RADBUS_REQUESTS_LIMIT": "64"},
    "memory": {"RADBUS_MEMORY_LIMIT_SHARE": "1"},
    "requests": {"RADBUS_REQUESTS_LIMIT": "4"},
}
DISK_MIB = 48
MEMORY_ABOVE_MIB = 8


@dataclass(frozen=True, slots=True)
class Door:
    """An ingest with limits of its own in the place of the stack's, and the programs around it."""

    url: str
    pids: Mapping[str, int]


def test_what_gives_when_more_comes_than_can_be_taken(radbus, hospitals, make_series, make_sleepy, tmp_path):
    rows = [
        *_steps(radbus, hospitals(), make_series, tmp_path),
        *(
            _flood(radbus, hospitals(), (make_series, make_sleepy), tmp_path, of)
            for of in FLOODS
            if of != "disk" or os.geteuid() == 0  # only root may make a small disk
        ),
    ]

    _print_and_write(rows)


def _steps(radbus: LocalStack, hospital: Any, make_series: Any, folder: Path) -> Iterator[dict[str, object]]:
    with _door(radbus, CALM, folder / "steps.log") as door:
        for clients in STEPS:
            instances = _ct_instances(make_series, until=time.monotonic() + STEP_S)
            flood, watched = _pour(hospital, door, ([each] for each in instances), clients, patience_s=120)
            yield _row(f"{clients} clients", flood, watched)
            if flood.statuses[503] > flood.statuses[200]:
                break  # beyond capacity: more of it is more of the same


def _flood(radbus: LocalStack, hospital: Any, makers: tuple[Any, Any], folder: Path, of: str) -> dict[str, object]:
    make_series, make_sleepy = makers
    with _limits(radbus, of, folder) as limits, _door(radbus, limits, folder / f"{of}.log") as door:
        until = time.monotonic() + FLOOD_S
        whole = chest_phantom(slices=8, rows=512)

        def series() -> Iterator[Sequence[bytes]]:
            # Tasks wait behind a machine that is slow; bytes before a store that is.
            for _ in range(FLOOD_SERIES):
                if time.monotonic() > until:
                    return
                wide = make_series(whole, body_part="FOOT", study_description="CT foot")
                sent = make_sleepy(300).instances if of == "tasks" else wide.instances
                accepted.instances.update(instances_of(sent))
                yield sent

        accepted = Accepted()
        flood, watched = _pour(hospital, door, series(), FLOOD_CLIENTS, patience_s=600)
        started = time.monotonic()
        asyncio.run(settle(radbus.environment(), hospital.institution, accepted, timeout_s=SETTLE_S))
        ended_s = time.monotonic() - started
    assert watched.refused.get(of) or watched.loads.get(of, 0) >= 1, f"the flood did not reach the limit of {of}"
    return {**_row(f"flood: {of}", flood, watched), "ended after s": round(ended_s, 1)}


def _pour(
    hospital: Any, door: Door, contents: Iterator[Sequence[bytes]], clients: int, *, patience_s: float
) -> tuple[Flood, Watched]:
    headers = {**hospital.headers, "Source": "sleepy"}
    flood = Flood(hospital.url(""), headers, until=time.monotonic() + FLOOD_S + patience_s)
    with Watched(door.pids, door.url) as watched:
        flood.pour(contents, clients=clients)
    assert set(flood.statuses) <= {200, 503}
    assert all(told.retry_after_s for told in flood.told if told.status == 503)
    assert watched.dead == set()
    assert watched.peak_mib["ingest"] < INGEST_LIMIT_MIB
    return flood, watched


@contextmanager
def _door(radbus: LocalStack, limits: Mapping[str, str], log: Path) -> Iterator[Door]:
    radbus.stop("ingest")
    port = radbus.layout.port("ingest")
    try:
        environment = {**radbus.environment(), "RADBUS_WHOLE_SERIES_SOURCES": "*", **limits}
        with service_running("ingest", environment, port=port, log=log) as url:
            pids = {program.name: program.pid for program in radbus.status() if program.pid}
            yield Door(url, {**pids, "ingest": _ingest().pid})
    finally:
        radbus.start("ingest")
        radbus.wait_until_ready(timeout_s=120)


@contextmanager
def _limits(radbus: LocalStack, of: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """Give the limits of one flood; for some they are of this machine's making."""
    limits = {**CALM, "RADBUS_REQUESTS_LIMIT": "200", "RADBUS_ADMISSION_EVERY_S": "0.2", **FLOODS[of]}
    if of == "memory":
        with _door(radbus, {**limits, "RADBUS_MEMORY_LIMIT_SHARE": "1"}, folder / "idle.log"):
            idle_bytes = _ingest().memory_info().rss
        yield {**limits, "RADBUS_MEMORY_LIMIT_BYTES": str(idle_bytes + MEMORY_ABOVE_MIB * 1024**2)}
        return
    if of != "disk":
        yield limits
        return
    with _small_disk(folder / "spool") as spool:
        # More than a tenth of this disk, which then counts as the low watermark.
        marks = {
            "RADBUS_DISK_LOW_BYTES": str(DISK_MIB * 1024**2),
            "RADBUS_DISK_HIGH_BYTES": str(DISK_MIB * 2 * 1024**2),
        }
        yield {**limits, **marks, "RADBUS_SPOOL_DIR": str(spool)}


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _ingest() -> psutil.Process:
    return next(each for each in psutil.Process().children() if "radbus_ingest" in each.cmdline())


def _ct_instances(make_series: Any, *, until: float) -> Iterator[bytes]:
    """Give instances of series that no use case is for, as long as there is time; each has a UID of its own."""
    series = make_series(chest_phantom(slices=1, rows=512), body_part="FOOT", study_description="CT foot")
    (template,) = series.instances
    (own,) = instances_of([template])
    stem = generate_uid()[: len(own) - 8]
    for number in count():
        if time.monotonic() > until:
            return
        yield template.replace(own.encode(), f"{stem}{number:0{len(own) - len(stem)}d}".encode())


def _row(what: str, flood: Flood, watched: Watched) -> dict[str, object]:
    accepts = [told for told in flood.told if told.status == 200]
    waits = [told.retry_after_s for told in flood.told if told.retry_after_s]
    return {
        "load": what,
        "s": round(watched.duration_s, 1),
        "200": len(accepts),
        "503": flood.statuses[503],
        "instances/s": round(sum(told.instances for told in accepts) / watched.duration_s, 1),
        **{f"p{at} ms": _percentile_ms(accepts, at) for at in (50, 95, 99)},
        "Retry-After s": f"{min(waits)}-{max(waits)}" if waits else "",
        "refused for": " ".join(f"{of}:{n}" for of, n in watched.refused.items()),
        **{f"{name} MiB": round(watched.peak_mib.get(name, 0)) for name in ("ingest", "scheduler", "rabbitmq", "s3")},
        **{f"{name} CPU s": round(watched.cpu_s.get(name, 0), 1) for name in ("ingest", "mongo", "s3")},
    }


def _percentile_ms(accepts: Sequence[Told], at: int) -> int:
    durations = sorted(told.duration_s for told in accepts)
    if len(durations) < 2:
        return round(1000 * sum(durations))
    return round(1000 * statistics.quantiles(durations, n=100, method="inclusive")[at - 1])


def _print_and_write(rows: Sequence[Mapping[str, object]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*names, title="More than can be taken")
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in names))
    Console(width=220).print(table)
    with (ROOT / "bench-load.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
