"""Institutions and series that the tests of the contracts share: each state of a result is made once."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pydicom
import pytest
from pydicom.uid import generate_uid
from radbus_cli.tokens import create_in
from radbus_testing.phantom_dicom import PhantomHeader, phantom_instances
from radbus_testing.waiting import eventually

from tests.conftest import Hospital, Series
from tests.contract.documents import Owned
from tests.contract.innereye_gateway import archive
from tests.contract.users import User, register
from tests.contract.wire import ask


@pytest.fixture(scope="session")
def new_hospital(radbus) -> Callable[..., Hospital]:
    """Make an institution, or a further token of one."""

    def make(institution: str | None = None, *, sources: tuple[str, ...] = ()) -> Hospital:
        institution = institution or f"contract-{uuid.uuid4().hex[:10]}"
        token = create_in(radbus.environment(), institution=institution, name="modality", sources=sources)
        return Hospital(radbus, institution, asyncio.run(token))

    return make


@pytest.fixture(scope="session")
def north(new_hospital) -> Hospital:
    return new_hospital()


@pytest.fixture(scope="session")
def south(new_hospital) -> Hospital:
    """Another institution, with nothing of its own."""
    return new_hospital()


@pytest.fixture(scope="session")
def only_ct1(new_hospital, north) -> Hospital:
    """A token of north's that may name the workspace ct1 alone."""
    return new_hospital(north.institution, sources=("ct1",))


@pytest.fixture(scope="session")
def new_series(small_chest) -> Callable[..., Series]:
    """Make a small series of fresh UIDs, which no use case is for unless the body part says so."""

    def make(slices: int = 1, *, hu: int = 0, study: str | None = None, body_part: str = "FOOT", **header) -> Series:
        voxels = small_chest.voxels[:slices, :16, :16].copy()
        voxels[...] = hu
        tiny = replace(small_chest, voxels=voxels)
        study, uid = study or generate_uid(), generate_uid()
        whole = PhantomHeader(
            study_instance_uid=study,
            series_instance_uid=uid,
            body_part=body_part,
            study_description="A small phantom",
            **header,
        )
        return Series(study, uid, list(phantom_instances(tiny, whole)), tiny)

    return make


@pytest.fixture(scope="session")
def judged(north, small_chest) -> Series:
    """A chest that has its result."""
    study, uid = generate_uid(), generate_uid()
    header = PhantomHeader(study_instance_uid=study, series_instance_uid=uid, patient_id="MRN-4711")
    series = Series(study, uid, list(phantom_instances(small_chest, header)), small_chest)
    north.upload(series.instances)
    assert north.result(uid).status_code == 200
    return series


@pytest.fixture(scope="module")
def under_process(north, new_series) -> Iterator[Series]:
    """A series whose machine takes as long as all tests of the results need."""
    series = new_series(3, hu=3000, body_part="ABDOMEN")
    north.upload(series.instances, source="sleepy")

    def running() -> str | None:
        return next((job["id"] for job in north.jobs() if series.uid in job["series_instance_uids"]), None)

    job = eventually(running, timeout_s=20, what="job of the sleepy series")
    yield series
    ask(north.stack, "POST", f"/jobs/{job}/cancel", headers=north.headers)


@pytest.fixture(scope="session")
def not_usable(north, new_series) -> Series:
    """A series whose machine says that it allows no answer."""
    return _settled(north, new_series(3, body_part="ABDOMEN"), source="sleepy")


@pytest.fixture(scope="session")
def failed(north, new_series) -> Series:
    """A series whose job failed for good."""
    return _settled(north, new_series(3, body_part="ABDOMEN"), source="broken")


@pytest.fixture(scope="session")
def unrouted(north, new_series) -> Series:
    """A series that no use case is for."""
    return _settled(north, new_series(3))


@pytest.fixture(scope="session")
def on_request(north, new_series) -> Series:
    """A series whose use case computes only when somebody asks, and nobody has."""
    return _settled(north, new_series(3, body_part="SHOULDER"))


def _settled(hospital: Hospital, series: Series, *, source: str | None = None) -> Series:
    hospital.upload(series.instances, source=source)
    hospital.result(series.uid)
    return series


@pytest.fixture(scope="session")
def new_user(radbus, tmp_path_factory) -> Callable[..., User]:
    """Register a user of an institution, who may read all models or the named ones."""
    folder = tmp_path_factory.mktemp("keys")

    def make(institution: str, *, models: tuple[str, ...] = ()) -> User:
        return register(radbus, folder, f"user-{uuid.uuid4().hex[:10]}", institution, models)

    return make


@pytest.fixture(scope="session")
def owned(north, judged, new_series) -> Owned:
    """Say what north has: a study with its job and inference, and a run of the inferencing API."""
    (job,) = [job for job in north.jobs() if judged.uid in job["series_instance_uids"]]
    (inference,) = ask(north.stack, "GET", f"/inferences?series={judged.uid}", headers=north.headers).json()
    body = archive({"ct": new_series(3).instances})
    start = ask(
        north.stack,
        "POST",
        "/v1/model/start/PassThroughModel:1729",
        headers={"API_AUTH_SECRET": north.token},
        body=body,
    )
    assert start.status == 201, start
    read = [pydicom.dcmread(io.BytesIO(each), stop_before_pixels=True) for each in judged.instances]
    return Owned(
        study=judged.study,
        series=judged.uid,
        instances=tuple(str(ds.SOPInstanceUID) for ds in read),
        job=job["id"],
        inference=inference["id"],
        run=start.body.decode(),
        patient_id=str(read[0].PatientID),
        model=inference["model"]["id"],
    )
