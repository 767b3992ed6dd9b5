"""Where the time goes between the last byte sent and the result, stage by stage, from the traces (`make bench`)."""

from __future__ import annotations

import asyncio
import csv
import json
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from radbus_testing.listening import heard
from radbus_testing.phantom import chest_phantom
from radbus_testing.waiting import eventually
from rich.console import Console
from rich.table import Table

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
RUNS = 7
TASKS = 2
# What a machine and its images cost; all else is the platform's own share.
NOT_THE_PLATFORM = ("load", "preprocess", "infer", "render", "report")
BOUNDARY = b"radbus-bench"


def test_the_platforms_share_of_a_120_slice_ct(hospital, make_series):
    phantom = chest_phantom(slices=120, rows=512)
    runs = [_one(hospital, make_series(phantom).instances) for _ in range(RUNS + 1)][1:]  # the first warms up

    stages = sorted({stage for run in runs for stage in run}, key=lambda stage: -_median(runs, stage))
    table = Table("stage", "median ms", "min", "max", title=f"120 slices of 512 x 512, {RUNS} runs")
    for stage in stages:
        values = [run.get(stage, 0.0) for run in runs]
        table.add_row(stage, f"{_median(runs, stage):.0f}", f"{min(values):.0f}", f"{max(values):.0f}")
    Console(width=100).print(table)
    with (ROOT / "bench-way-of-a-series.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["run", *stages])
        writer.writeheader()
        writer.writerows({"run": number, **run} for number, run in enumerate(runs))
    assert len(runs) == RUNS


def _median(runs: list[dict[str, float]], stage: str) -> float:
    return statistics.median(run.get(stage, 0.0) for run in runs)


def _one(hospital, instances: list[bytes]) -> dict[str, float]:
    """Send one study and return the milliseconds of each stage."""
    sent_at: list[float] = []
    done = _Done(hospital)
    answer = hospital.http.post(
        hospital.url("/upload"),
        headers={
            **hospital.headers,
            "X-Series-Complete": "true",
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}",
        },
        content=_body(instances, sent_at),
    )
    uid = answer.json()["series_instance_uids"][0]
    trace_id = answer.headers["x-trace-id"]
    done.wait()  # asking all the time would take the processors from what is measured
    while hospital.results(uid).status_code != 200:
        time.sleep(0.005)
    total_ms = (time.time() - sent_at[0]) * 1000

    def whole() -> dict[str, float] | None:
        found, counts = _spans(hospital.stack.layout.root / "traces", trace_id, sent_at[0])
        # Each process writes its spans when it has time to: both tasks' must be there.
        return found if counts["keep"] == TASKS and counts["consume results.job-completed"] else None

    stages = eventually(whole, timeout_s=20, what="trace with the last stage")
    others = sum(stages.get(name, 0.0) for name in NOT_THE_PLATFORM)
    return {"TOTAL": total_ms, "PLATFORM": total_ms - others, **stages}


class _Done:
    """Hears, in a thread of its own, of the inference that an institution's study ends in."""

    def __init__(self, hospital) -> None:
        listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(hospital, listening), daemon=True)
        self._thread.start()
        assert listening.wait(10)

    def _listen(self, hospital, listening: threading.Event) -> None:
        def ours(event: Mapping[str, Any]) -> bool:
            return event["institution"] == hospital.institution

        url = hospital.stack.environment()["RADBUS_AMQP_URL"]
        asyncio.run(heard(url, "inference.#", ours, listening=listening.set))

    def wait(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def _body(instances: list[bytes], sent_at: list[float]) -> Iterator[bytes]:
    for number, instance in enumerate(instances):
        yield b'--%s\r\nContent-Disposition: form-data; name="f%d"; filename="f"\r\n\r\n' % (BOUNDARY, number)
        yield instance
        yield b"\r\n"
    sent_at.append(time.time())
    yield b"--%s--\r\n" % BOUNDARY


def _spans(folder: Path, trace_id: str, since: float) -> tuple[dict[str, float], Counter[str]]:
    """Sum up the milliseconds of each kind of span of one trace, as far as they lie after `since`, and count them."""
    found: dict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            if trace_id not in line:
                continue
            span = json.loads(line)
            start, end = _seconds(span["start_time"]), _seconds(span["end_time"])
            counts[span["name"]] += 1
            found[span["name"]] += max(0.0, end - max(start, since)) * 1000
    return dict(found), counts


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
