"""Machines and models that do what they must not: each job ends, with a reason, and its neighbours complete."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from radbus_contracts import topology
from radbus_storage import records
from radbus_testing.listening import heard
from radbus_testing.waiting import eventually
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

DEADLINE_S = 400
# What the machine does, and what its job says of it.
DEADLY = {
    "hangs": "took longer than 4 s",
    "hangs in a thread": "took longer than 4 s",
    "kills its worker": r"its worker was lost \(attempt 2 of 2\)",
}
# None where the job completes all the same.
WAYS = {
    "waits": "took longer than 4 s",
    "exits": "the machine's code ended with SystemExit",
    "raises": "unexpected error: ValueError$",
    "calls a model": "there is no model to call",
    "nothing": "expected a MachineOutput as the machine's answer, got NoneType",
    "wrong shape": "expected labels as uint8",
    "wrong dtype": "expected labels as uint8",
    "unknown label": r"expected a segment for each label; \[9\] have none",
    "gigabytes": r"expected label maps of at most \d+ bytes together, got 17179869184",
    "many label maps": "expected at most 64 label maps, got 1000",
    "nan": "expected finite numbers",
    "infinite value": "expected finite numbers",
    "many measurements": "expected at most 1000 measurements, got 100000",
    "many findings": "expected at most 1000 findings, got 100000",
    "long text": "expected texts of at most 20000 characters, got one of 10000000",
    "frame beyond": "expected key frames within",
    "no text": "expected text in the machine's answer, got NoneType",
    "no such value": None,
}
SHAPE, NO_BYTES, LONG_TEXT, NO_TEXT, DIES = 1, 2, 3, 4, 5  # as tests/site/machines/twisted/1/model.py has them
MODEL_WAYS = {
    SHAPE: r"expected the output LABELS as UINT8 \[3, 32, 32\], got UINT8 \[1, 2, 3\]",
    NO_BYTES: r"expected the output LABELS as UINT8 \[3, 32, 32\], got UINT8 \[0, 32, 32\]",
    LONG_TEXT: "expected texts of at most 20000 characters",
    NO_TEXT: "REMARKS: expected a JSON list",
    DIES: "is not healthy",
}
UNLOADABLE = """
class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("no weights")  # while it has none

    def execute(self, requests):
        return []
"""


@pytest.fixture
def make_tiny(make_series, small_chest) -> Callable[..., Any]:
    """Make a small series whose first voxel and whose description say what its machine is to do."""

    def make(*, voxel: int = 0, description: str = "Phantom") -> Any:
        voxels = small_chest.voxels[:3, :32, :32].copy()
        voxels[...] = voxel
        tiny = replace(small_chest, voxels=voxels)
        return make_series(
            tiny, body_part="ABDOMEN", study_description="CT abdomen phantom", series_description=description
        )

    return make


def reasons(hospital, series: dict[Any, Any]) -> dict[Any, tuple[str, str | None]]:
    """Return state and reason of the job of each series, by what its machine was to do."""
    jobs = {job["subject_uid"]: job for job in hospital.jobs()}
    return {way: (jobs[one.uid]["state"], jobs[one.uid]["reason"]) for way, one in series.items()}


def assert_said(found: dict[Any, tuple[str, str | None]], expected: dict[Any, str | None]) -> None:
    assert {way: state for way, (state, _) in found.items()} == {
        way: "failed" if reason else "completed" for way, reason in expected.items()
    }
    unsaid = {way: found[way] for way, reason in expected.items() if reason and not re.search(reason, found[way][1])}
    assert not unsaid
    assert "Jane" not in str(found)


async def test_whatever_a_machine_answers_its_job_ends_with_the_reason_and_the_others_complete(
    hospital, make_tiny, make_series, balanced
):
    faulty = {way: make_tiny(description=way) for way in WAYS}
    neighbour = make_series()

    for one in faulty.values():
        await asyncio.to_thread(hospital.upload, one.instances, source="faulty")
    await asyncio.to_thread(hospital.upload, neighbour.instances)
    books = await balanced([*faulty.values(), neighbour], timeout_s=DEADLINE_S)

    assert_said(await asyncio.to_thread(reasons, hospital, faulty), WAYS)
    assert hospital.result(neighbour.uid).status_code == 200
    (judged,) = [each for each in books[records.INFERENCES].values() if each["use_case"] == "faulty"]
    assert (judged["triage"], judged["triage_reason"].partition(":")[0]) == ("routine", "not judged")


@pytest.mark.parametrize("way", DEADLY)
async def test_a_machine_that_takes_every_worker_along_fails_its_job_after_its_attempts_and_the_others_complete(
    radbus, hospital, make_tiny, make_sleepy, balanced, way
):
    deadly, neighbours = make_tiny(description=way), [make_sleepy(10) for _ in range(4)]

    await asyncio.to_thread(hospital.upload, deadly.instances, source="faulty")
    for one in neighbours:
        await asyncio.to_thread(hospital.upload, one.instances, source="sleepy")
    books = await balanced([deadly, *neighbours], timeout_s=DEADLINE_S)
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=DEADLINE_S)

    assert_said(await asyncio.to_thread(reasons, hospital, {way: deadly}), {way: DEADLY[way]})
    assert books.states() == {"completed": len(neighbours), "failed": 1}


async def test_whatever_a_model_answers_its_job_ends_with_the_reason_and_the_others_complete(
    radbus, hospital, make_tiny, make_series, balanced
):
    twisted = {way: make_tiny(voxel=10 * way) for way in MODEL_WAYS}
    slow, neighbour = make_tiny(voxel=1000), make_series()

    for one in twisted.values():
        await asyncio.to_thread(hospital.upload, one.instances, source="twisted")
    await asyncio.to_thread(hospital.upload, slow.instances, source="hurried")
    await asyncio.to_thread(hospital.upload, neighbour.instances)
    await balanced([*twisted.values(), slow, neighbour], timeout_s=DEADLINE_S)

    found = await asyncio.to_thread(reasons, hospital, twisted | {"slow": slow})
    assert_said(found, MODEL_WAYS | {"slow": "took longer than 2 s|DEADLINE_EXCEEDED"})
    assert hospital.result(neighbour.uid).status_code == 200
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=120)


@contextmanager
def worker_elsewhere(radbus, folder: Path) -> Iterator[str]:
    """A worker of a pool whose models cannot be had: it is never ready, and works all the same."""
    port = radbus.layout.port("worker-8")
    own = {"RADBUS_POOL": "elsewhere", "RADBUS_HTTP_PORT": str(port), "RADBUS_TRACES": "off"}
    with (folder / "elsewhere.log").open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "radbus_worker"],
            env={**os.environ, **radbus.environment(), **own},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        worker.terminate()
        worker.wait(90)


@contextmanager
def unloadable_model(radbus) -> Iterator[None]:
    """A model whose code fails when Triton loads it; Triton would not even start with it."""
    environment = radbus.environment()
    folder = Path(environment["RADBUS_MACHINES_DIR"])
    config = (folder / "broken" / "config.pbtxt").read_text().replace('"broken"', '"unloadable"')
    (folder / "unloadable" / "1").mkdir()
    (folder / "unloadable" / "1" / "model.py").write_text(UNLOADABLE)
    (folder / "unloadable" / "config.pbtxt").write_text(config)
    triton = InferenceServerClient(environment["RADBUS_TRITON_URL"])
    try:
        with pytest.raises(InferenceServerException, match="no weights"):
            triton.load_model("unloadable")
        yield
    finally:
        # Loaded once, that it is away no longer makes Triton call itself unready.
        (folder / "unloadable" / "1" / "model.py").write_text(UNLOADABLE.replace("raise RuntimeError", "print"))
        triton.load_model("unloadable")
        triton.unload_model("unloadable")
        shutil.rmtree(folder / "unloadable" / "1")
        (folder / "unloadable" / "config.pbtxt").unlink()
        triton.close()


async def test_a_model_that_triton_does_not_have_or_cannot_load_fails_its_job_and_makes_its_worker_unready(
    radbus, hospital, make_tiny, make_series, balanced, tmp_path
):
    series = {"absent": make_tiny(), "unloadable": make_tiny()}
    neighbour = make_series()

    with unloadable_model(radbus), worker_elsewhere(radbus, tmp_path) as url:
        for source, one in series.items():
            await asyncio.to_thread(hospital.upload, one.instances, source=source)
        await asyncio.to_thread(hospital.upload, neighbour.instances)
        await balanced([*series.values(), neighbour], timeout_s=DEADLINE_S)
        unready = httpx2.get(f"{url}/readyz", timeout=10)
        # Those that need neither are as ready as before.
        await asyncio.to_thread(radbus.wait_until_ready, "worker-0", "worker-1", timeout_s=120)

    found = await asyncio.to_thread(reasons, hospital, series)
    assert_said(found, {name: f"model {name}: .*(not found|no available versions|not ready)" for name in series})
    assert hospital.result(neighbour.uid).status_code == 200
    assert unready.status_code == 503
    assert re.search("model (absent|unloadable) is not ready", unready.json()["checks"]["triton"])


@contextmanager
def stubs_of(radbus, model: str) -> Iterator[list[psutil.Process]]:
    place = f"{radbus.environment()['RADBUS_MACHINES_DIR']}/{model}/"
    yield [
        each
        for each in psutil.process_iter(["cmdline"])
        if (command := each.info["cmdline"]) and "stub" in command[0] and any(place in part for part in command)
    ]


def kill_stubs(radbus) -> None:
    with stubs_of(radbus, "sleeper") as found:
        assert found
        for process in found:
            process.kill()


@pytest.mark.parametrize(
    "strike",
    [kill_stubs, lambda radbus: radbus.kill("triton", restart=True)],
    ids=["its model's process", "Triton"],
)
async def test_an_inference_is_done_once_when_what_does_it_is_killed_in_the_middle(
    radbus, hospital, make_sleepy, make_series, balanced, told, strike
):
    sleepy, neighbour = make_sleepy(4000), make_series()
    url, listening = radbus.environment()["RADBUS_AMQP_URL"], asyncio.Event()

    def ours(event) -> bool:
        return event["institution"] == hospital.institution and event["data"]["progress"] >= 0.25

    hearing = asyncio.create_task(heard(url, topology.TASK_PROGRESSED.routing_key, ours, listening=listening.set))
    await listening.wait()
    await asyncio.to_thread(hospital.upload, sleepy.instances, source="sleepy")
    await asyncio.wait_for(hearing, DEADLINE_S)  # it has begun to infer
    await asyncio.to_thread(strike, radbus)
    await asyncio.to_thread(hospital.upload, neighbour.instances)
    books = await balanced([sleepy, neighbour], told=told, timeout_s=DEADLINE_S)

    assert books.states() == {"completed": 2}
    (job,) = [each for each in books[records.JOBS].values() if each["subject_uid"] == sleepy.uid]
    assert job["tasks"][0]["attempt"] > 1
    await asyncio.to_thread(eventually, lambda: is_ready(radbus), timeout_s=120, what="ready workers")


def is_ready(radbus) -> bool:
    workers = [radbus.url(name) for name in ("worker-0", "worker-1")]
    return all(httpx2.get(f"{url}/readyz", timeout=10).status_code == 200 for url in workers)
