"""Fixtures that all tests share: the local stack on ports of its own, clients of it, and the real data beside it."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import hypothesis
import pytest
from pydicom.uid import generate_uid
from radbus_cli.local.stack import LocalStack
from radbus_cli.tokens import create_in
from radbus_testing.collector import Collector
from radbus_testing.phantom import ChestPhantom, chest_phantom
from radbus_testing.phantom_dicom import PhantomHeader, phantom_instances
from radbus_testing.programs import python_path
from radbus_testing.waiting import eventually

# What hangs is ended by the timeout of every test; a clock that runs beside other work says nothing of an example.
hypothesis.settings.register_profile("radbus", deadline=None)
hypothesis.settings.load_profile("radbus")

ROOT = Path(__file__).parents[1]
# Another port than the usual one is another stack, so that two runs of the tests do not meet.
TEST_BASE_PORT = int(os.environ.get("RADBUS_TEST_BASE_PORT", "18000"))
TEST_ROOT = ROOT / ".local" / ("test" if TEST_BASE_PORT == 18000 else f"test-{TEST_BASE_PORT}")
# How many of each service run; CI's other runs are with one.
TEST_REPLICAS = int(os.environ.get("RADBUS_TEST_REPLICAS", "1"))
UNDER_WAY = 202


@pytest.fixture(scope="session")
def base_port() -> int:
    """The first of the ports of this run of the tests; each test with servers of its own adds some hundreds."""
    return TEST_BASE_PORT


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The four servers, without services; what a server's URL in the environment names is used instead."""
    yield from _running(services=False, machines_dir=None)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """A collector of spans, to which all of radbus sends its own."""
    with Collector() as listening:
        yield listening


@pytest.fixture(scope="session")
def radbus(collector) -> Iterator[LocalStack]:
    """All of radbus, with two workers, a site's own use cases, and machines that sleep and fail."""
    machines = TEST_ROOT.with_name(f"{TEST_ROOT.name}-machines")
    shutil.rmtree(machines, ignore_errors=True)
    for folder in (ROOT / "triton_models", ROOT / "tests" / "site" / "machines"):
        shutil.copytree(folder, machines, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RADBUS_SITE_USE_CASES_DIR", str(ROOT / "tests" / "site" / "use_cases"))
        environment.setenv("RADBUS_HTTP_HEAD_S", "5")
        environment.setenv("PYTHONPATH", python_path(ROOT / "tests" / "site" / "plugins"))
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        environment.setenv("RADBUS_QUIET_S", "2")
        environment.setenv("RADBUS_STUDY_QUIET_S", "2")
        # Of what is temporary and what is said in detail, tests look for what should not be there.
        spool = TEST_ROOT.with_name(f"{TEST_ROOT.name}-spool")
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True)
        environment.setenv("RADBUS_SPOOL_DIR", str(spool))
        environment.setenv("RADBUS_SCRATCH_DIR", str(spool))
        environment.setenv("RADBUS_LOG_LEVEL", "DEBUG")
        yield from _running(services=True, machines_dir=machines)


def _running(*, services: bool, machines_dir: Path | None) -> Iterator[LocalStack]:
    if "RADBUS_AMQP_URL" not in os.environ and not _there("rabbitmq-server") and not os.environ.get("CI"):
        pytest.skip("the local stack needs rabbitmq-server: run `make install`")
    stack = LocalStack(TEST_ROOT, TEST_BASE_PORT, machines_dir=machines_dir, replicas=TEST_REPLICAS)
    stack.down()
    stack.wipe()
    try:
        stack.up(services=services)
        yield stack
    finally:
        stack.down()


@dataclass(frozen=True, slots=True)
class Hospital:
    """A client of one institution, which knows radbus by its one address."""

    stack: LocalStack
    institution: str
    token: str
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=60))

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}"}

    def url(self, path: str) -> str:
        return f"{self.stack.url('front')}{path}"

    def upload(self, instances: Sequence[bytes], *, complete: bool = True, source: str | None = None) -> dict[str, Any]:
        """Send instances in one request to `/upload`, which must succeed."""
        answer = self.post_upload(instances, complete=complete, source=source)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post_upload(
        self, instances: Sequence[bytes], *, complete: bool = True, source: str | None = None
    ) -> httpx2.Response:
        headers = {**self.headers, "X-Series-Complete": str(complete).lower()} | ({"Source": source} if source else {})
        files = [(f"file{n}", (f"{n}.dcm", io.BytesIO(each), "application/dicom")) for n, each in enumerate(instances)]
        return self.http.post(self.url("/upload"), headers=headers, files=files)

    def get(self, path: str, **params: str) -> httpx2.Response:
        return self.http.get(self.url(path), headers=self.headers, params=params)

    def results(self, uid: str) -> httpx2.Response:
        return self.get(f"/results/{uid}")

    def result(self, uid: str, *, timeout_s: float = 60) -> httpx2.Response:
        """Wait until something other than 'under process' is said of a UID (nor 'not yet known')."""

        def settled() -> httpx2.Response | None:
            answer = self.results(uid)
            return None if answer.status_code in (UNDER_WAY, 404) else answer

        return eventually(settled, timeout_s=timeout_s, what=f"a result of {uid}")

    def jobs(self, **params: str) -> list[dict[str, Any]]:
        answer = self.get("/jobs", limit="200", **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["jobs"]


@pytest.fixture
def hospitals(radbus) -> Callable[[], Hospital]:
    """Make a client of an institution that no other test has."""
    return lambda: new_hospital(radbus)


def new_hospital(stack: LocalStack) -> Hospital:
    """Make a client of an institution of its own, known to a stack's services."""
    institution = f"hospital-{uuid.uuid4().hex[:10]}"
    token = asyncio.run(create_in(stack.environment(), institution=institution, name="modality"))
    return Hospital(stack, institution, token)


@pytest.fixture
def hospital(hospitals) -> Hospital:
    return hospitals()


@dataclass(frozen=True, slots=True)
class Series:
    """A synthetic series, ready to be sent."""

    study: str
    uid: str
    instances: list[bytes]
    phantom: ChestPhantom


@pytest.fixture(scope="session")
def small_chest() -> ChestPhantom:
    return chest_phantom(slices=40, rows=128)


@pytest.fixture
def make_series(small_chest) -> Callable[..., Series]:
    """Make a series of fresh UIDs out of a phantom."""

    def make(phantom: ChestPhantom = small_chest, *, study: str | None = None, **header: Any) -> Series:
        study, uid = study or generate_uid(), generate_uid()
        whole = PhantomHeader(study_instance_uid=study, series_instance_uid=uid, **header)
        return Series(study, uid, list(phantom_instances(phantom, whole)), phantom)

    return make


@pytest.fixture
def make_sleepy(make_series, small_chest) -> Callable[..., Series]:
    """Make a series that keeps the sleeping model busy for so many milliseconds, 30 s at most."""

    def make(sleep_ms: int, **header: Any) -> Series:
        voxels = small_chest.voxels[:3, :32, :32].copy()
        voxels[...] = sleep_ms // 10  # a CT of 12 bits holds no more than 3071 HU
        tiny = replace(small_chest, voxels=voxels)
        return make_series(tiny, **{"body_part": "ABDOMEN", "study_description": "CT abdomen phantom", **header})

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real DICOM beside the repository; it is no part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"expected the shared data at {folder}")
        pytest.skip("the shared data is not beside the repository")
    return folder


@pytest.fixture(scope="session")
def dciodvfy() -> str:
    """The validator of DICOM objects (Debian's dicom3tools)."""
    found = shutil.which("dciodvfy")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("dciodvfy is not installed: run `make install`")
    return found


@pytest.fixture
def institution() -> str:
    """A name of an institution that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}"


def _there(tool: str) -> bool:
    return shutil.which(tool) is not None or Path("/usr/sbin", tool).exists()
