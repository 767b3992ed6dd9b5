"""The worker as a process of its own on real servers: orders in, outcomes, objects and facts out."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
import numpy as np
import psutil
import pydicom
import pytest
import requests
from radbus_contracts.envelope import Event
from radbus_contracts.facts import TaskOutcome
from radbus_contracts.identity import record_id
from radbus_contracts.orders import RunTaskV1
from radbus_contracts.topology import EVENTS, RUN_TASK, TASKS, pool_queue
from radbus_runtime.bus import Bus
from radbus_runtime.events import Teller
from radbus_runtime.settings import ServiceSettings
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_testing.disk import SmallDisk, can_mount, small_disk
from radbus_testing.phantom import chest_phantom
from radbus_testing.phantom_dicom import phantom_instances
from radbus_testing.programs import python_path, settings_of

pytestmark = pytest.mark.stack

PLUGIN = '''
import asyncio
import numpy as np
from radbus_contracts.errors import PermanentError
from radbus_machines.types import *

AIR = Code("15158005", "SCT", "Air")


class Threshold:
    """Labels air, in the way that its manifest's version says."""

    def __init__(self, manifest):
        self._way = manifest.version

    async def infer(self, volume, model, progress):
        progress(0.5)
        if self._way == "slow":
            await asyncio.sleep(120)
        if self._way == "broken":
            raise ValueError("Doe^Jane was born in 1960")
        if self._way == "refuses":
            raise PermanentError("expected something else")
        if self._way == "calls":
            await model.infer({}, {})
        others = {name: list(other.voxels.shape) for name, other in volume.channels.items()}
        labels = (volume.voxels < -500).astype(np.uint8)
        segment = Segment(1, "Air", Code("123037004", "SCT", "Anatomical Structure"), AIR, (0, 200, 255))
        share = float(labels.mean())
        return MachineOutput(
            summary=f"{100 * share:.1f} % air.",
            values={"air": share, "kernel": str(volume.attributes.get("ConvolutionKernel")), "others": str(others)},
            label_maps=(LabelMap("air", labels, (segment,)),),
            measurements=(Measurement("air", "Share of air", share, "1", AIR, "Voxels below -500 HU."),),
            findings=(Finding("air", True, "There is air.", AIR),),
            key_frames=(KeyFrame(0, "First"), KeyFrame(len(volume.frames) // 2, "Middle")),
            limits=("A test.",),
        )
'''
TWO_INPUTS = {"name": "two-inputs", "version": "1", "title": "Two", "runner": "python", "entry_point": "threshold"}
TWO_INPUTS |= {"channels": ["ct", "flair"], "dicom_tags": ["ConvolutionKernel"]}
PASS_THROUGH = {"name": "pass-through", "version": "1729", "title": "P", "runner": "python"}
PASS_THROUGH |= {"model_id": "PassThroughModel:1729"}
CALLS = {**TWO_INPUTS, "name": "calls", "version": "calls", "channels": []}
SCRATCH_BYTES = 1536 * 1024
WAYS = {"threshold": 300, "slow": 300, "hurried": 1.5, "broken": 300, "refuses": 300}


@pytest.fixture(scope="module")
def environment(stack, tmp_path_factory) -> dict[str, str]:
    """Settings of a worker with machines of this test's own beside the repository's."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "radbus_test_machine.py").write_text(PLUGIN)
    info = folder / "radbus_test_machine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: radbus-test-machine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[radbus.machines]\nthreshold = radbus_test_machine:Threshold\n")
    return {**os.environ, **stack.environment(), "PYTHONPATH": python_path(folder)}


@pytest.fixture
def settings(environment) -> ServiceSettings:
    return settings_of(environment)


class Worker:
    """A worker process in a pool of its own."""

    def __init__(self, environment: dict[str, str], folder: Path, pool: str, **settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.scratch = folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        own = {"POOL": pool, "HTTP_PORT": str(self.port), "SCRATCH_DIR": str(self.scratch), "TRACES": "off"}
        self.pool = pool
        self._log = (folder / f"worker-{self.port}.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "radbus_worker"],
            env={
                **environment,
                "RADBUS_MACHINES_DIR": str(write_machines(folder / "machines", pool)),
                **{f"RADBUS_{name.upper()}": value for name, value in {**own, **settings}.items()},
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    async def ready(self) -> Worker:
        await until(self._ready, what=lambda: f"a ready worker; its log: {Path(self._log.name).read_text()[-3000:]}")
        return self

    def pool_processes(self) -> list[psutil.Process]:
        """The processes that decode: children of the fork server, which is a child of the worker."""
        direct = psutil.Process(self.process.pid).children()
        return [grandchild for child in direct for grandchild in child.children()]

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._log.close()

    async def unready(self) -> dict[str, Any] | None:
        """Return what is said of a worker that is not ready, and None of one that is."""
        answer = await asyncio.to_thread(requests.get, f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        return answer.json() if answer.status_code == 503 else None

    async def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the worker ended: {self.log()[-3000:]}")
        try:
            answer = await asyncio.to_thread(requests.get, f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        except (requests.ConnectionError, requests.Timeout):
            return False
        return answer.status_code == 200 and len(self.pool_processes()) > 0


def write_machines(folder: Path, pool: str) -> Path:
    """Write the manifests; the model is one that Triton has, since readiness asks for it."""
    for name, timeout_s in WAYS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        manifest = {
            "name": name,
            "version": "slow" if name == "hurried" else name,
            "title": name,
            "runner": "triton",
            "model": "lung_ct",
            "entry_point": "threshold",
            "pool": pool,
            "timeout_s": timeout_s,
            "dicom_tags": ["ConvolutionKernel", "PatientSex"],
            "weights_sha256": "ab" * 32,
        }
        (folder / name / "machine.yaml").write_text(json.dumps(manifest))
    (folder / "lung-ct").mkdir(exist_ok=True)
    lung_ct = {"name": "lung-ct", "version": "1", "title": "Lungs", "runner": "triton", "model": "lung_ct"}
    lung_ct |= {"entry_point": "lung-ct", "pool": pool}
    (folder / "lung-ct" / "machine.yaml").write_text(json.dumps(lung_ct))
    for each in (TWO_INPUTS, PASS_THROUGH, CALLS):
        (folder / str(each["name"])).mkdir(exist_ok=True)
        (folder / str(each["name"]) / "machine.yaml").write_text(json.dumps({**each, "pool": pool}))
    return folder


def hashed(uid: str) -> str:
    """Make a UID what the inferencing API's clients make of it: 64 digits, no dot."""
    return ("1" + "".join(f"{byte:02d}" for byte in hashlib.sha512(uid.encode()).digest()))[:64]


KEPT = {"ImageType", "Modality", "PatientPosition", "BodyPartExamined", "SOPClassUID", "SliceThickness"}
KEPT |= {"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"}
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


def deidentified(content: bytes, name_of: Callable[[str], str] = hashed) -> bytes:
    """Leave of an instance what the inferencing API's clients send."""
    ds = pydicom.dcmread(io.BytesIO(content))
    for element in list(ds):
        if element.keyword in UIDS:
            ds[element.tag] = pydicom.DataElement(element.tag, "LO", name_of(str(element.value)))
        elif element.tag.group not in {0x0028, 0x7FE0} and element.keyword not in KEPT:
            del ds[element.tag]
    stream = io.BytesIO()
    ds.save_as(stream)
    return stream.getvalue()


def zipped(entries: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


@functools.cache
def uploaded(slices: int, *, hashing: bool = True) -> tuple[bytes, ...]:
    """Make the instances of a phantom as a client of the inferencing API sends them."""
    instances = phantom_instances(chest_phantom(slices=slices, rows=128))
    return tuple(deidentified(each, hashed if hashing else str) for each in instances)


async def until(
    condition: Callable[[], Awaitable[Any]], *, timeout_s: float = 40, what: Callable[[], str] = lambda: "it"
) -> Any:
    try:
        async with asyncio.timeout(timeout_s):
            while not (found := await condition()):
                await asyncio.sleep(0.05)
            return found
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s} s for {what()}") from None


class Hospital:
    """What the other services would have written, and what they would see."""

    def __init__(self, settings: ServiceSettings, institution: str, pool: str) -> None:
        self.documents = Documents(settings.documents)
        self.objects = ObjectStore(settings.objects)
        self.institution = institution
        self.pool = pool
        self.bus = Bus(settings, pools=[pool])
        self.facts: list[Event] = []
        self._amqp_url = settings.amqp_url.get_secret_value()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Hospital]:
        await self.bus.start()
        connection = await aio_pika.connect(self._amqp_url)
        async with connection, connection.channel() as self.channel:
            listener = await self.channel.declare_queue(exclusive=True)
            for key in ("task.#", "worker.heartbeat.v1"):
                await listener.bind(EVENTS, key)

            async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                self.facts.append(Event[dict].model_validate_json(message.body))  # type: ignore[type-var]

            await listener.consume(keep, no_ack=True)
            yield self
        await self.bus.stop()
        self.documents.close()
        self.objects.close()

    async def store_series(
        self,
        *,
        leave_out: tuple[int, ...] = (),
        slices: int = 24,
        changed: Callable[[bytes], bytes] = lambda content: content,
    ) -> tuple[str, str]:
        """Store a phantom as ingest would; return its study and series."""
        series = f"1.2.826.0.1.{uuid.uuid4().int}"[:60]
        study = f"{series}.1"
        phantom = chest_phantom(slices=slices, rows=128)
        first: pydicom.Dataset | None = None
        for index, made in enumerate(phantom_instances(phantom, study_instance_uid=study, series_instance_uid=series)):
            if index in leave_out:
                continue
            content = changed(made)
            ds = pydicom.dcmread(io.BytesIO(content))
            first = first or ds
            key = f"{self.institution}/{ds.SOPInstanceUID}"
            await self.objects.put(key, content, size_bytes=len(content))
            record = {"_id": record_id(self.institution, ds.SOPInstanceUID), "institution": self.institution}
            record |= {"study_instance_uid": study, "series_instance_uid": series, "object_key": key}
            record |= {"sop_instance_uid": str(ds.SOPInstanceUID)}
            record |= {"elements": {"ConvolutionKernel": "STANDARD", "PatientSex": "O", "PatientID": "SECRET"}}
            await self.documents["instances"].insert(record)
        elements = {"PatientName": "Phantom^Chest", "PatientID": "PHANTOM", "StudyDate": "20260102"}
        record = {"_id": record_id(self.institution, series), "institution": self.institution, "elements": elements}
        record |= {"study_instance_uid": study, "series_instance_uid": series}
        await self.documents["series"].insert({**record, "modality": "CT", "instance_count": slices})
        return study, series

    async def order_on_archive(self, machine: str, content: bytes) -> RunTaskV1:
        """Store an archive and return the order of a job on it, not sent yet."""
        key = f"{self.institution}/runs/{uuid.uuid4()}/upload.zip"
        await self.objects.put(key, content, size_bytes=len(content))
        return await self.order(machine, ("", ""), archive=key, use_case="inner-eye", series_instance_uids=())

    async def order(self, machine: str, where: tuple[str, str], **changes: Any) -> RunTaskV1:
        """Write a job with one task and return its order, not sent yet."""
        job = str(uuid.uuid4())
        order = RunTaskV1(
            **{
                "job_id": job,
                "task_id": "look",
                "attempt": 1,
                "machine": machine,
                "use_case": "test",
                "title": "A test",
                "study_instance_uid": where[0],
                "series_instance_uids": (where[1],),
                "finish_by": datetime.now(UTC) + timedelta(hours=1),
                **changes,
            }
        )
        await self.documents["jobs"].insert(
            {
                "_id": job,
                "institution": self.institution,
                "state": "active",
                "use_case_version": 1,
                "requested_at": datetime(2026, 1, 2, tzinfo=UTC),
                "tasks": [{"id": order.task_id, "state": "dispatched"}],
            }
        )
        return order

    async def send(self, order: RunTaskV1) -> None:
        message = Teller("test").tell(
            RUN_TASK,
            order,
            subject=order.job_id,
            institution=self.institution,
            exchange=TASKS,
            routing_key=self.pool,
        )
        await self.bus.publish(message, mandatory=True)

    async def outcome(self, order: RunTaskV1, *, attempt: int = 1) -> dict[str, Any]:
        """Wait for an attempt's outcome, told and taken out of the outbox."""
        where = {"_id": f"{order.job_id}/{order.task_id}/{attempt}", "outbox": []}
        return await until(
            lambda: self.documents["outcomes"].find_one(where), what=lambda: f"the outcome of attempt {attempt}"
        )

    async def lease(self, order: RunTaskV1) -> dict[str, Any]:
        return await until(
            lambda: self.documents["leases"].find_one({"_id": f"{order.job_id}/{order.task_id}"}),
            what=lambda: "a lease",
        )

    def told(self, kind: str, order: RunTaskV1) -> list[dict[str, Any]]:
        return [fact.data for fact in self.facts if fact.type == f"radbus.{kind}.v1" and fact.subject == order.job_id]

    def beats(self) -> list[dict[str, Any]]:
        kind = "radbus.worker.heartbeat.v1"
        return [fact.data for fact in self.facts if fact.type == kind and fact.data["pool"] == self.pool]

    async def waiting_orders(self) -> int:
        queue = await self.channel.declare_queue(pool_queue(self.pool).name, passive=True)
        return queue.declaration_result.message_count or 0


@pytest.fixture
def pool() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def hospital(settings, institution, pool) -> AsyncIterator[Hospital]:
    async with Hospital(settings, institution, pool).open() as hospital:
        yield hospital


@pytest.fixture
def start_worker(environment, tmp_path, pool) -> Iterator[Callable[..., Worker]]:
    started: list[Worker] = []

    def start(pool: str = pool, **settings: str) -> Worker:
        started.append(Worker(environment, tmp_path, pool, **settings))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.fixture(scope="module")
def shared_worker(environment, tmp_path_factory) -> Iterator[Worker]:
    worker = Worker(environment, tmp_path_factory.mktemp("shared"), f"test-{uuid.uuid4().hex[:8]}", renew_every_s="0.3")
    yield worker
    worker.end()


@pytest.fixture
async def worker(shared_worker, hospital) -> Worker:
    """A worker of several tests, idle and well."""
    hospital.pool = shared_worker.pool
    return await shared_worker.ready()


async def test_an_order_becomes_an_outcome_with_objects_and_facts_and_leaves_nothing_behind(hospital, worker):
    where = await hospital.store_series()
    order = await hospital.order("threshold", where)

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert outcome["succeeded"]
    assert outcome["usable"]
    assert 0 < outcome["values"]["air"] < 1
    assert outcome["values"]["kernel"] == "STANDARD"
    assert outcome["machine"]["weights_sha256"] == "ab" * 32
    assert outcome["inputs"]["patient_sex"] == {where[0]: "O"}
    assert len(outcome["inputs"]["image_position_patient"][where[0]][where[1]]) == 24
    assert "patient_id" not in outcome["inputs"]
    seg = pydicom.dcmread(io.BytesIO(await hospital.objects.get(outcome["files"]["seg"][0])))
    assert seg.StudyInstanceUID == where[0]
    assert seg.Modality == "SEG"
    assert (await hospital.objects.get(outcome["files"]["sc_png"][1])).startswith(b"\x89PNG")
    archive = zipfile.ZipFile(io.BytesIO(await hospital.objects.get(outcome["files"]["npz"][0])))
    assert "segmentation.npy" in archive.namelist()
    assert json.loads(await hospital.objects.get(outcome["files"]["json"][0]))["usable"]
    assert all(
        key.startswith(f"{hospital.institution}/derived/{order.job_id}/look/1/")
        for keys in outcome["files"].values()
        for key in keys
    )
    assert len(hospital.told("task.started", order)) == 1
    assert hospital.told("task.succeeded", order)[0]["outcome_id"] == outcome["_id"]
    assert not list(worker.scratch.iterdir())
    assert not [beat for beat in hospital.beats() if beat["slots"] != 1]


async def test_an_order_that_comes_twice_is_run_once(hospital, start_worker):
    await start_worker(slots="2").ready()
    order = await hospital.order("threshold", await hospital.store_series())

    await hospital.send(order)
    await hospital.send(order)
    await hospital.outcome(order)
    await hospital.send(order)
    last = await hospital.order("broken", ("1.2", "1.2.3"))
    await hospital.send(last)
    await hospital.outcome(last)

    assert len(hospital.told("task.started", order)) == 1
    assert len(hospital.told("task.succeeded", order)) == 1


async def test_an_older_attempt_is_not_run_and_a_newer_one_is(hospital, worker):
    where = await hospital.store_series()
    second = await hospital.order("threshold", where, attempt=2)

    await hospital.send(second)
    await hospital.outcome(second, attempt=2)
    await hospital.send(second.model_copy(update={"attempt": 1}))
    await hospital.send(second.model_copy(update={"attempt": 3}))
    await hospital.outcome(second, attempt=3)

    assert [fact["attempt"] for fact in hospital.told("task.started", second)] == [2, 3]


async def test_images_that_are_no_volume_are_an_outcome_and_not_a_failure(hospital, worker):
    order = await hospital.order("threshold", await hospital.store_series(leave_out=(7, 8)))

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert outcome["succeeded"]
    assert not outcome["usable"]
    assert "evenly spaced" in outcome["summary"]


@pytest.mark.parametrize(
    ("machine", "again", "reason"),
    [
        ("broken", True, "unexpected error: ValueError"),
        ("refuses", False, "expected something else"),
        ("hurried", True, "took longer than 2 s"),
        ("unheard-of", True, "this worker has no machine named 'unheard-of'"),
    ],
)
async def test_a_failure_says_why_without_patient_data_and_whether_to_try_again(
    hospital, worker, machine, again, reason
):
    order = await hospital.order(machine, await hospital.store_series(slices=16))

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert (outcome["succeeded"], outcome["reason"]) == (False, reason)
    assert hospital.told("task.failed", order)[0]["again"] is again
    assert "Jane" not in worker.log()
    assert not list(worker.scratch.iterdir())


def of_constants(content: bytes) -> bytes:
    """Give an instance 4096 x 4096 pixels of one value: half a megabyte that will be 32."""
    ds = pydicom.dcmread(io.BytesIO(content))
    ds.Rows = ds.Columns = 4096
    ds.PixelData = bytes(2 * 4096 * 4096)
    ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    stream = io.BytesIO()
    ds.save_as(stream)
    return stream.getvalue()


async def test_a_series_that_would_not_fit_into_memory_is_refused_by_its_headers_and_the_next_is_judged(
    hospital, start_worker
):
    worker = await start_worker(memory_bytes=str(256 * 1024**2)).ready()
    order = await hospital.order("threshold", await hospital.store_series(slices=3, changed=of_constants))
    next_order = await hospital.order("threshold", await hospital.store_series(slices=16))

    await hospital.send(order)
    await hospital.send(next_order)
    outcome, next_outcome = await hospital.outcome(order), await hospital.outcome(next_order)

    assert (outcome["succeeded"], outcome["usable"]) == (True, False)
    assert "at most 67108864 bytes, for which there is memory; this one has 100663296" in outcome["summary"]
    assert next_outcome["usable"], next_outcome
    assert worker.log().count("pool.replaced") == 0


async def test_a_series_that_is_not_stored_fails_for_good(hospital, worker):
    order = await hospital.order("threshold", ("1.2.3", "1.2.3.4"))

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert not outcome["succeeded"]
    assert hospital.told("task.failed", order)[0]["again"] is False


async def test_a_killed_decoder_fails_the_attempt_and_the_next_one_succeeds(hospital, worker):
    order = await hospital.order("threshold", await hospital.store_series())
    await until(lambda: _true(len(worker.pool_processes()) >= 2), what=lambda: "a warm pool")
    for process in worker.pool_processes():
        process.send_signal(signal.SIGSTOP)

    await hospital.send(order)
    await hospital.lease(order)
    await until(lambda: _true(list(worker.scratch.glob("*/*.dcm"))), what=lambda: "a download")
    for process in worker.pool_processes():
        process.kill()
    outcome = await hospital.outcome(order)
    await hospital.send(order.model_copy(update={"attempt": 2}))
    second = await hospital.outcome(order, attempt=2)

    await until(lambda: _true(bool(hospital.told("task.failed", order))), what=lambda: "the failure told")
    assert hospital.told("task.failed", order)[0]["again"] is True
    assert "killed" in outcome["reason"]
    assert second["succeeded"]


async def test_the_run_of_a_cancelled_job_is_stopped_without_an_outcome_and_its_slot_is_free(hospital, worker):
    order = await hospital.order("slow", await hospital.store_series(slices=16))
    await hospital.send(order)
    await hospital.lease(order)

    await hospital.documents["jobs"].update({"_id": order.job_id}, {"$set": {"state": "cancelled"}})
    next_order = await hospital.order("threshold", await hospital.store_series(slices=16))
    await hospital.send(next_order)
    await hospital.outcome(next_order)

    assert await hospital.documents["outcomes"].find_one({"job_id": order.job_id}) is None
    assert "the job is cancelled" in worker.log()
    assert not list(worker.scratch.iterdir())


async def test_an_order_of_a_job_that_has_ended_is_dropped(hospital, worker):
    order = await hospital.order("threshold", ("1.2", "1.2.3"))
    await hospital.documents["jobs"].update({"_id": order.job_id}, {"$set": {"state": "cancelled"}})

    await hospital.send(order)
    await until(lambda: _is_zero(hospital.waiting_orders()))
    last = await hospital.order("broken", ("1.2", "1.2.3"))
    await hospital.send(last)
    await hospital.outcome(last)

    assert await hospital.documents["leases"].find_one({"job_id": order.job_id}) is None


async def test_a_full_worker_leaves_orders_to_an_idle_one(hospital, start_worker):
    await start_worker().ready()
    where = await hospital.store_series(slices=16)
    slow, quick = await hospital.order("slow", where), await hospital.order("threshold", where)
    await hospital.send(slow)
    lease = await hospital.lease(slow)

    await hospital.send(quick)
    await until(lambda: _true(any(beat["busy"] == 1 for beat in hospital.beats())))
    assert await hospital.waiting_orders() == 1
    await start_worker().ready()
    outcome = await hospital.outcome(quick)

    assert outcome["worker"] != lease["worker"]


@pytest.fixture
def scratch(tmp_path) -> Iterator[SmallDisk]:
    """A small disk where the workers of this test make their tasks' folders."""
    if not can_mount():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a disk of its own needs root to be mounted")
    with small_disk(tmp_path / "scratch", size_bytes=SCRATCH_BYTES) as disk:
        yield disk


async def test_a_series_that_does_not_fit_on_a_workers_disk_fails_at_once_for_another_and_the_next_is_judged(
    hospital, start_worker, scratch
):
    worker = await start_worker().ready()
    order = await hospital.order("threshold", await hospital.store_series(slices=60))
    next_order = await hospital.order("threshold", await hospital.store_series(slices=8))

    await hospital.send(order)
    await hospital.send(next_order)
    outcome, next_outcome = await hospital.outcome(order), await hospital.outcome(next_order)

    assert (outcome["succeeded"], outcome["reason"]) == (False, "a disk of this machine is full")
    assert hospital.told("task.failed", order)[0]["again"] is True
    assert next_outcome["succeeded"], next_outcome["reason"]
    assert not list(worker.scratch.iterdir())


async def test_a_worker_whose_disk_is_full_is_not_ready_and_leaves_orders_to_others_until_there_is_room(
    hospital, start_worker, scratch
):
    worker = await start_worker().ready()
    order = await hospital.order("threshold", await hospital.store_series(slices=8))

    scratch.fill()
    unready = await until(worker.unready, what=lambda: "a worker that is not ready")
    await until(lambda: _true(hospital.beats()[-1]["draining"]), what=lambda: "word that it wants no tasks")
    await hospital.send(order)
    heard = len(hospital.beats())
    await until(lambda: _true(len(hospital.beats()) > heard + 2), what=lambda: "two more heartbeats")
    waiting = await hospital.waiting_orders()
    scratch.free()
    outcome = await hospital.outcome(order)

    assert "bytes free for tasks' folders; there are 0" in unready["checks"]["scratch"]
    assert waiting == 1
    assert outcome["succeeded"], outcome["reason"]
    await worker.ready()
    assert not hospital.beats()[-1]["draining"]


async def test_at_sigterm_a_run_that_takes_too_long_gives_its_lease_up_and_the_worker_says_that_it_drains(
    hospital, start_worker
):
    worker = await start_worker(drain_s="1").ready()
    order = await hospital.order("slow", await hospital.store_series(slices=16))
    await hospital.send(order)
    await hospital.lease(order)

    worker.process.terminate()
    code = await asyncio.to_thread(worker.process.wait, 30)
    lease = await hospital.lease(order)

    assert code == 0, worker.log()[-2000:]
    assert lease["released"]
    assert lease["until"] <= datetime.now(UTC)
    assert hospital.beats()[-1]["draining"]
    assert not list(worker.scratch.iterdir())


async def test_at_sigterm_a_run_that_ends_in_time_is_finished_and_told(hospital, start_worker):
    worker = await start_worker(drain_s="30").ready()
    order = await hospital.order("threshold", await hospital.store_series())
    await hospital.send(order)
    await hospital.lease(order)

    os.killpg(worker.process.pid, signal.SIGTERM)  # as supervisors do: its pool's processes are in the group
    code = await asyncio.to_thread(worker.process.wait, 40)
    outcome = await hospital.outcome(order)

    assert code == 0, worker.log()[-2000:]
    assert outcome["succeeded"]


async def test_a_killed_worker_leaves_no_process_and_the_next_clears_its_folder(hospital, start_worker):
    worker = await start_worker().ready()
    order = await hospital.order("slow", await hospital.store_series(slices=16))
    await hospital.send(order)
    await until(lambda: _true(list(worker.scratch.glob("*/*.dcm"))), what=lambda: "a download")
    processes = psutil.Process(worker.process.pid).children(recursive=True)

    worker.process.kill()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=15)
    left = list(worker.scratch.iterdir())
    for folder in left:
        os.utime(folder, (0, 0))
    await start_worker().ready()

    assert gone
    assert not alive
    assert left
    await until(lambda: _true(not any(folder.exists() for folder in left)), what=lambda: "an empty scratch folder")


async def test_a_report_is_made_of_the_outcome_that_it_needs(hospital, start_worker):
    await start_worker(pool="default").ready()
    hospital.pool = "default"
    where = await hospital.store_series()
    needed = {"_id": str(uuid.uuid4()), "institution": hospital.institution, "succeeded": True, "summary": "Air."}
    needed |= {"machine": {"name": "m", "version": "1", "title": "M", "weights_sha256": None}, "files": {}}
    needed |= {"measurements": [], "findings": [], "limits": ["None."], "remarks": [], "values": {}, "outbox": []}
    await hospital.documents["outcomes"].insert(needed)
    need = TaskOutcome(task_id="look", outcome_id=needed["_id"])
    order = await hospital.order("report", where, task_id="report", needs=(need,))
    stranger = await hospital.order(
        "report", where, task_id="report", needs=(TaskOutcome(task_id="x", outcome_id="y"),)
    )

    await hospital.send(order)
    await hospital.send(stranger)
    outcome, refused = await hospital.outcome(order), await hospital.outcome(stranger)

    assert outcome["succeeded"], outcome.get("reason")
    assert (await hospital.objects.get(outcome["files"]["pdf"][0])).startswith(b"%PDF")
    assert outcome["values"] == {}
    assert not refused["succeeded"]


async def test_outputs_say_in_the_time_of_the_site_when_they_were_made(hospital, start_worker):
    worker = await start_worker(time_zone="Europe/Zurich").ready()
    hospital.pool = worker.pool
    order = await hospital.order("threshold", await hospital.store_series())

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    seg = pydicom.dcmread(io.BytesIO(await hospital.objects.get(outcome["files"]["seg"][0])))
    assert (seg.SeriesDate, seg.SeriesTime) == ("20260102", "010000")


async def test_the_lung_machine_measures_the_phantom_through_triton_and_draws_it(hospital, worker, tmp_path, dciodvfy):
    where = await hospital.store_series(slices=60)
    order = await hospital.order("lung-ct", where)

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert outcome["succeeded"], outcome.get("reason")
    assert outcome["usable"], outcome["summary"]
    assert outcome["values"]["total_lung_volume_ml"] > 1000
    sides = [site["laterality"] and site["laterality"]["meaning"] for site in outcome["sites"]]
    assert (len(sides), sides[0]) == (len(outcome["measurements"]), "Right")
    assert outcome["files"]["seg"]
    path = tmp_path / "rtstruct.dcm"
    path.write_bytes(await hospital.objects.get(outcome["files"]["rtstruct"][0]))
    assert "Error" not in await said_of(path, dciodvfy)
    ds = pydicom.dcmread(path)
    study = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    assert (ds.StudyInstanceUID, study.RTReferencedSeriesSequence[0].SeriesInstanceUID) == where
    assert all(len(roi.ContourSequence) > 5 for roi in ds.ROIContourSequence[:2])


async def said_of(path: Path, dciodvfy: str) -> str:
    """Validate a DICOM file."""
    said = await asyncio.to_thread(subprocess.run, [dciodvfy, str(path)], capture_output=True, text=True, check=False)
    return said.stdout + said.stderr


async def test_an_archive_becomes_a_structure_set_that_repeats_its_uids(hospital, worker):
    instances = uploaded(24)
    sources = [pydicom.dcmread(io.BytesIO(each)) for each in instances]
    entries = {"CT\\": b""} | {f"CT\\{number}": each for number, each in enumerate(reversed(instances))}
    order = await hospital.order_on_archive("pass-through", zipped(entries))

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert outcome["succeeded"], outcome["reason"]
    assert (outcome["usable"], outcome["inputs"], outcome["files"].keys()) == (True, {}, {"rtstruct", "json"})
    ds = pydicom.dcmread(io.BytesIO(await hospital.objects.get(outcome["files"]["rtstruct"][0])))
    assert ds.SoftwareVersions == "PassThroughModel:1729"
    names = ["SpinalCord", "Lung_R", "Lung_L", "Heart", "Esophagus"]
    assert [roi.ROIName for roi in ds.StructureSetROISequence] == names
    study = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    assert ds.StudyInstanceUID == study.ReferencedSOPInstanceUID == sources[0]["StudyInstanceUID"].value
    assert len(ds.StudyInstanceUID) == 64
    assert study.RTReferencedSeriesSequence[0].SeriesInstanceUID == sources[0]["SeriesInstanceUID"].value
    assert ds.FrameOfReferenceUID == sources[0]["FrameOfReferenceUID"].value
    heights = {str(each["SOPInstanceUID"].value): float(each.ImagePositionPatient[2]) for each in sources}
    for roi in ds.ROIContourSequence:
        drawn = {
            contour.ContourImageSequence[0].ReferencedSOPInstanceUID: float(contour.ContourData[2])
            for contour in roi.ContourSequence
        }
        assert drawn == pytest.approx(heights, abs=1e-3)
    assert not list(worker.scratch.iterdir())


async def test_the_lung_machine_draws_the_lungs_of_an_archive_as_a_valid_structure_set(
    hospital, worker, tmp_path, dciodvfy
):
    instances = uploaded(60, hashing=False)
    order = await hospital.order_on_archive("lung-ct", zipped({f"{n}": each for n, each in enumerate(instances)}))

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert outcome["succeeded"], outcome["reason"]
    assert outcome["usable"], outcome["summary"]
    path = tmp_path / "rtstruct.dcm"
    path.write_bytes(await hospital.objects.get(outcome["files"]["rtstruct"][0]))
    assert "Error" not in await said_of(path, dciodvfy)
    ds = pydicom.dcmread(path)
    assert [roi.ROIName for roi in ds.StructureSetROISequence][:2] == ["Right lung", "Left lung"]
    assert all(len(roi.ContourSequence) > 5 for roi in ds.ROIContourSequence[:2])


@pytest.mark.parametrize(
    ("machine", "make", "reason"),
    [
        ("pass-through", lambda: b"no zip", "expected a whole zip"),
        ("pass-through", lambda: zipped({}), "Expected images of one channel; there are 0"),
        ("pass-through", lambda: zipped({"a/1": uploaded(3)[0], "b/1": uploaded(3)[1]}), "there are 2"),
        ("pass-through", lambda: zipped({"Doe^Jane/1": b"born in 1960"}), "cannot be read"),
        ("pass-through", lambda: zipped({str(n): uploaded(24)[n] for n in (0, 1, 2, 7)}), "evenly spaced"),
        ("two-inputs", lambda: zipped({"ct/1": uploaded(3)[0]}), "none of flair"),
    ],
)
async def test_an_archive_that_cannot_be_used_is_an_outcome_and_not_a_failure(hospital, worker, machine, make, reason):
    order = await hospital.order_on_archive(machine, make())

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert (outcome["succeeded"], outcome["usable"], outcome["files"]) == (True, False, {})
    assert reason in outcome["summary"]
    assert "Jane" not in worker.log() + outcome["summary"]
    assert not list(worker.scratch.iterdir())


async def test_an_archive_that_is_gone_fails_for_good(hospital, worker):
    order = await hospital.order("pass-through", ("", ""), archive="nowhere/upload.zip", series_instance_uids=())

    await hospital.send(order)
    await hospital.outcome(order)

    assert hospital.told("task.failed", order)[0]["again"] is False


async def test_a_machine_gets_each_of_its_inputs_and_its_labels_lie_on_the_first(hospital, worker):
    (study, ct), (_, flair) = await hospital.store_series(slices=16), await hospital.store_series(slices=24)
    channels = {"Flair": flair, "CT": ct}
    order = await hospital.order("two-inputs", (study, ct), series_instance_uids=(flair, ct), channels=channels)
    without = await hospital.order("two-inputs", (study, ct), channels={"ct": ct})

    await hospital.send(order)
    await hospital.send(without)
    outcome, refused = await hospital.outcome(order), await hospital.outcome(without)

    assert outcome["succeeded"], outcome["reason"]
    assert outcome["values"]["others"] == "{'flair': [24, 128, 128]}"
    archive = np.load(io.BytesIO(await hospital.objects.get(outcome["files"]["npz"][0])))
    assert archive["segmentation"].shape == (16, 128, 128)
    assert outcome["inputs"]["pixel_spacing"][study].keys() == {ct, flair}
    assert (refused["succeeded"], refused["usable"]) == (True, False)
    assert "none of flair" in refused["summary"]
    assert not list(worker.scratch.iterdir())


async def test_a_pool_of_machines_without_models_does_not_need_triton(hospital, start_worker, tmp_path):
    folder = tmp_path / "python" / "calls"
    folder.mkdir(parents=True)
    (folder / "machine.yaml").write_text(json.dumps({**CALLS, "pool": hospital.pool}))
    await start_worker(triton_url="127.0.0.1:1", machines_dir=str(folder.parent)).ready()
    order = await hospital.order("calls", await hospital.store_series(slices=16))

    await hospital.send(order)
    outcome = await hospital.outcome(order)

    assert "there is no model to call" in outcome["reason"]
    assert hospital.told("task.failed", order)[0]["again"] is False


async def _true(value: object) -> object:
    return value


async def _is_zero(count: Awaitable[int]) -> bool:
    return await count == 0
