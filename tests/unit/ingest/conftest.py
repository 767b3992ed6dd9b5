"""Ingest's routes on stores of dictionaries, and small instances to send to them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import pytest
from fastapi import FastAPI, Request
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from radbus_contracts.envelope import Event
from radbus_contracts.facts import JobRequestedV1, Source
from radbus_dicom.reading import Header
from radbus_dicom.zips import ZipLimits
from radbus_ingest.adapters.bodies import BodyReader
from radbus_ingest.adapters.filling_store import FillingStore
from radbus_ingest.adapters.inner_eye_routes import RunRoutes
from radbus_ingest.adapters.records import Touch
from radbus_ingest.adapters.resources import Disk
from radbus_ingest.adapters.routes import IntakeRoutes
from radbus_ingest.adapters.spool import Room
from radbus_ingest.domain.completeness import CompletenessRules
from radbus_ingest.domain.limits import GateLimits, Limits, Watermarks
from radbus_ingest.domain.outcomes import Stored
from radbus_ingest.domain.runs import Model, Upload
from radbus_ingest.handlers.admitting import Gate
from radbus_ingest.handlers.receiving import Receiver
from radbus_ingest.handlers.starting import RunStarter
from radbus_ingest.handlers.storing import InstanceStorer
from radbus_ingest.handlers.touching import Toucher
from radbus_ingest.handlers.watching import Senses, Watch
from radbus_runtime.auth.principal import Authenticate, ForbiddenError, Principal, UnauthenticatedError
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.http import create_api
from radbus_storage.errors import StoreFullError, StoreUnavailableError

LIMITS = Limits(
    request_bytes=1_000_000,
    part_bytes=100_000,
    part_count=50,
    zips=ZipLimits(entries=20, inflated_bytes=500_000),
)
MARKS = Watermarks(
    disk_low_bytes=1000, disk_high_bytes=2000, memory_bytes=1000, tasks=10, untold=10, store_full_s=60, every_s=1
)
GATE = GateLimits(requests=5, waiting_bytes=1_000_000, wait_s=0.05, urgent_sources=frozenset({"stroke"}))
STUDY = "1.2.3"
MODELS = {"PassThroughModel:1729": Model("PassThroughModel:1729", "pass-through", "Rectangles", "1729", ("ct",))}


class Runs:
    """The records of runs in memory; one holds the place of its upload."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.announced: dict[str, Upload] = {}
        self.begun: dict[Upload, str] = {}
        self.told: list[JobRequestedV1] = []
        self.fails_after_it_began = False

    async def holder(self, upload: Upload) -> str | None:
        self._stores.raise_if_away("records")
        return self.begun.get(upload)

    async def announce(self, run_id: str, upload: Upload) -> None:
        self._stores.raise_if_away("records")
        self.announced[run_id] = upload

    async def begin(self, run_id: str, upload: Upload, told: Outgoing) -> str:
        self._stores.raise_if_away("begin")
        assert f"hospital/runs/{run_id}/upload.zip" in self._stores.objects
        winner = self.begun.setdefault(upload, run_id)
        if winner == run_id:
            del self.announced[run_id]
            self.told.append(Event[JobRequestedV1].parse(told.body.encode()).data)
        if self.fails_after_it_began:
            raise StoreUnavailableError("the answer was lost")
        return winner

    async def withdraw(self, run_id: str) -> bool:
        return run_id in self.announced

    async def forget(self, run_id: str) -> None:
        del self.announced[run_id]


@dataclass
class Backlog:
    """What waits behind ingest, as a test says."""

    tasks: dict[str, int] = field(default_factory=dict)
    records: int = 0
    is_away: bool = False

    async def ready_tasks(self, *, limit: int) -> dict[str, int]:
        if self.is_away:
            raise StoreUnavailableError("away")
        return self.tasks

    async def untold(self, *, limit: int) -> int:
        return min(self.records, limit)


@dataclass
class Machine:
    """The disk and the memory, as a test says."""

    disk: Disk = field(default_factory=lambda: Disk(100_000, 50_000))
    used_memory_bytes: int = 0


@dataclass
class Admission:
    """What decides who is let in, and what it goes by."""

    watch: Watch
    backlog: Backlog
    machine: Machine


class Stores:
    """Both stores in memory; `away` names those that do not answer."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.records: dict[tuple[str, str], tuple[str, Header]] = {}
        self.series: list[tuple[Touch, str]] = []
        self.studies: list[Touch] = []
        self.completed: dict[tuple[str, str], int] = {}
        self.away: set[str] = set()
        self.purged: set[str] = set()
        self.puts = 0
        self.is_full = False
        self.puts_until_away: int | None = None

    async def put(self, key: str, data: bytes | BinaryIO, *, size_bytes: int, content_type: str = "") -> None:
        if self.is_full:
            raise StoreFullError("no room")
        if self.puts == self.puts_until_away:
            self.away.add("objects")
        self.raise_if_away("objects")
        content = data if isinstance(data, bytes) else data.read(size_bytes)
        assert len(content) == size_bytes
        self.puts += 1
        self.objects[key] = content

    async def delete(self, key: str) -> None:
        self.raise_if_away("objects")
        self.objects.pop(key, None)

    async def content_of(self, institution: str, sop_instance_uid: str) -> str | None:
        self.raise_if_away("records")
        found = self.records.get((institution, sop_instance_uid))
        return None if found is None else found[0]

    async def add(self, institution: str, header: Header, *, object_key: str, size_bytes: int, sha256: str) -> bool:
        self.raise_if_away("records")
        assert hashlib.sha256(self.objects[object_key]).hexdigest() == sha256
        key = (institution, header.sop_instance_uid)
        return self.records.setdefault(key, (sha256, header))[1] is header

    async def count(self, institution: str, series_instance_uid: str) -> int:
        return sum(
            key[0] == institution and header.series_instance_uid == series_instance_uid
            for key, (_, header) in self.records.items()
        )

    async def was_purged(self, institution: str, study_instance_uid: str, *, last_s: float) -> bool:
        self.raise_if_away("records")
        assert last_s >= 0
        return study_instance_uid in self.purged

    async def completed_count(self, institution: str, series_instance_uid: str) -> int | None:
        return self.completed.get((institution, series_instance_uid))

    async def touch_series(self, touch: Touch, series_instance_uid: str, modality: str) -> None:
        self.raise_if_away("series")
        self.series.append((touch, series_instance_uid))

    async def touch_study(self, touch: Touch) -> None:
        self.raise_if_away("studies")
        self.studies.append(touch)

    def raise_if_away(self, name: str) -> None:
        if name in self.away:
            raise StoreUnavailableError(f"{name} is away")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    is_body_read: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Ingest:
    """The routes, what they write to, and a client that sends a body in pieces."""

    api: FastAPI
    stores: Stores
    room: Room
    runs: Runs
    told: list[Stored]
    admission: Admission
    stalled: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(
        self,
        path: str,
        body: bytes = b"",
        content_type: str | None = None,
        *,
        method: str = "POST",
        piece_bytes: int = 1000,
        disconnect: bool = False,
        stall: bool = False,
        pause_s: float = 0,
        secret: str | None = None,
        **headers: str,
    ) -> Answer:
        given = {"authorization": "Token right", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if secret is not None:
            given["api_auth_secret"] = secret
        if content_type is not None:
            given["content-type"] = content_type
        pieces = [body[at : at + piece_bytes] for at in range(0, len(body), piece_bytes)] or [b""]
        messages: list[dict[str, Any]] = [{"type": "http.request", "body": p, "more_body": True} for p in pieces]
        messages.append(
            {"type": "http.disconnect"} if disconnect else {"type": "http.request", "body": b"", "more_body": False}
        )
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if stall and len(messages) == 1:
                self.stalled.set()
                await asyncio.Event().wait()
            await asyncio.sleep(pause_s)
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "server": ("ingest", 80),
            "headers": [(k.lower().encode(), v.encode()) for k, v in given.items()],
        }
        await self.api(scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        return Answer(
            start["status"],
            {k.decode(): v.decode() for k, v in start["headers"]},
            b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body"),
            is_body_read=len(messages) <= len(pieces),
        )


async def _authenticate(request: Request) -> Principal:
    if request.headers.get("authorization") != "Token right":
        raise UnauthenticatedError("Invalid token.")
    return Principal("hospital", "scanner", ("allowed", "stroke"))


def _by_secret(models: tuple[str, ...]) -> Authenticate:
    async def authenticate(request: Request) -> Principal:
        secret = request.headers.get("api_auth_secret")
        if secret is None:
            raise UnauthenticatedError("none")
        if secret != "right":
            raise ForbiddenError("wrong")
        return Principal("hospital", "gateway", models=models)

    return authenticate


@pytest.fixture
def make_ingest() -> Callable[..., Ingest]:
    """Make ingest with limits and rules of the test's own."""

    def make(
        *,
        limits: Limits = LIMITS,
        rules: CompletenessRules | None = None,
        requests: int = 5,
        waiting_bytes: int = 1_000_000,
        callers_models: tuple[str, ...] = (),
    ) -> Ingest:
        stores = Stores()
        runs = Runs(stores)
        room = Room(memory_bytes=20_000, part_memory_bytes=5_000)
        backlog, machine = Backlog(), Machine()
        watch = Watch(backlog, Senses(lambda: machine.disk, lambda: machine.used_memory_bytes), MARKS)
        gate = Gate(room, watch, replace(GATE, requests=requests, waiting_bytes=waiting_bytes))
        bodies = BodyReader(room, limits, go_on=gate.go_on)
        told: list[Stored] = []
        toucher = Toucher(
            rules or CompletenessRules(quiet_s=5, study_quiet_s=5),
            touch_series=stores.touch_series,
            touch_study=stores.touch_study,
            count=stores.count,
            completed_count=stores.completed_count,
            was_purged=stores.was_purged,
            complete_soon=lambda: None,
        )
        receiver = Receiver(
            InstanceStorer(FillingStore(stores, store_is_full=watch.store_is_full), stores),
            toucher,
            limits=limits,
            new_spool=bodies.new_spool,
            parts_at_a_time=3,
            tell_stored=lambda _, stored: told.append(stored),
        )
        routes = IntakeRoutes(
            receiver,
            bodies,
            requires=lambda *_: _authenticate,
            gate=gate,
            count=stores.count,
            dicomweb_url="https://pacs.example/dicomweb/",
        )
        api = create_api("ingest", description="", body_limit_bytes=None)
        api.include_router(routes.router())
        starter = RunStarter(stores, runs, teller=Teller("ingest"), send_soon=lambda _, __: None)
        by_secret = _by_secret(callers_models)
        run_routes = RunRoutes(starter, bodies, models=MODELS, requires=lambda *_: by_secret, gate=gate)
        api.include_router(run_routes.router())
        return Ingest(api, stores, room, runs, told, Admission(watch, backlog, machine))

    return make


@pytest.fixture
def ingest(make_ingest: Callable[..., Ingest]) -> Ingest:
    """Ingest with small limits."""
    return make_ingest()


@pytest.fixture
def make_instance() -> Callable[..., bytes]:
    """Make a small CT instance; keyword arguments set elements."""

    def make(number: int = 1, *, study: str = STUDY, series: str = "1.2.3.4", side: int = 16, **elements: Any) -> bytes:
        ds = Dataset()
        ds.SOPClassUID = CTImageStorage
        ds.SOPInstanceUID = f"{series}.{number}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = study, series, "CT"
        ds.PatientID, ds.PatientName, ds.InstanceNumber = "SECRET-ID", "Secret^Name", number
        ds.Rows = ds.Columns = side
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
        ds.PixelData = bytes(side * side * 2)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = io.BytesIO()
        dcmwrite(buffer, ds, enforce_file_format=True)
        return buffer.getvalue()

    return make


@pytest.fixture
def multipart() -> Callable[..., bytes]:
    """Write a multipart body of (field name, content) pairs."""

    def write(*parts: tuple[str, bytes], boundary: str = "b", end: bool = True) -> bytes:
        body = b""
        for name, content in parts:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
            body += head.encode() + content + b"\r\n"
        return body + (f"--{boundary}--\r\n".encode() if end else b"")

    return write


@pytest.fixture
def source() -> Source:
    """Where a test's instances come from."""
    return Source(dialect="upload", workspace="ward", token_name="scanner")
