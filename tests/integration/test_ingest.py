"""Two replicas of ingest, each a process of its own, on real stores and a real broker."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
import requests
import schemathesis
from aio_pika.abc import AbstractIncomingMessage
from dicomweb_client.api import DICOMwebClient
from hypothesis import HealthCheck, given, settings
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from radbus_cli.tokens import create_in
from radbus_contracts.identity import record_id
from radbus_contracts.topology import EVENTS
from radbus_runtime.auth.tokens import create_token
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_storage.records import TOKENS
from radbus_testing.programs import service_running, settings_of
from radbus_testing.waiting import until
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.stack

DEADLINE_S = 20
SERIES, STUDY, INSTANCE = "radbus.series.completed.v1", "radbus.study.completed.v1", "radbus.instance.stored.v1"


def uid() -> str:
    """Make a UID that leaves room for an instance's number behind it."""
    return f"2.25.{uuid4().int}"


def instance(number: int, *, study: str, series: str, **elements: Any) -> bytes:
    """Make a small CT instance."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"{series}.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.Modality, ds.InstanceNumber, ds.PatientID = "CT", number, "$looks-like-a-field"
    ds.Rows = ds.Columns = 8
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.PixelData = bytes(128)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


@dataclass
class World:
    """The replicas with what is around them."""

    urls: list[str]
    institution: str
    token: str
    documents: Documents
    objects: ObjectStore
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def upload(self, *instances: bytes, replica: int = 0, **headers: str) -> requests.Response:
        files = [(f"file{n}", (f"{n}.dcm", content)) for n, content in enumerate(instances)]
        return await asyncio.to_thread(
            requests.post,
            f"{self.urls[replica]}/upload",
            files=files,
            headers={"Authorization": f"Token {self.token}", **headers},
            timeout=120,
        )

    async def series(self, series: str, *, revision: int) -> dict[str, Any]:
        """Wait until a series is complete in a revision."""
        return await self._record(records.SERIES, series, revision)

    async def study(self, study: str, *, revision: int) -> dict[str, Any]:
        """Wait until a study is complete in a revision."""
        return await self._record(records.STUDIES, study, revision)

    async def told(self, kind: str, subject: str, *, count: int) -> list[dict[str, Any]]:
        """Wait until so many events of a kind were heard about a subject."""

        async def heard() -> list[dict[str, Any]] | None:
            found = [event for event in self.heard if event["type"] == kind and event["subject"] == subject]
            return found if len(found) >= count else None

        return await until(heard, timeout_s=DEADLINE_S, what="event")

    async def listen(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        if event["institution"] == self.institution:
            self.heard.append(event)

    async def _record(self, collection: str, subject: str, revision: int) -> dict[str, Any]:
        where = {
            "_id": record_id(self.institution, subject),
            "state": "complete",
            "revision": revision,
            "outbox": [],
        }

        async def found() -> dict[str, Any] | None:
            return await self.documents[collection].find_one(where)

        return await until(found, timeout_s=DEADLINE_S, what="record")


@pytest.fixture(scope="module")
def replicas(stack, tmp_path_factory) -> Iterator[list[str]]:
    """The addresses of two replicas."""
    folder = tmp_path_factory.mktemp("ingest")
    ports = [stack.layout.port("ingest"), stack.layout.port("worker-9")]
    environment = {**stack.environment(), "RADBUS_QUIET_S": "0.5", "RADBUS_STUDY_QUIET_S": "0.5"}
    with ExitStack() as running:
        yield [
            running.enter_context(service_running("ingest", environment, port=port, log=folder / f"{port}.log"))
            for port in ports
        ]


@pytest.fixture
async def world(stack, replicas, institution) -> AsyncIterator[World]:
    environment = stack.environment()
    settings = settings_of(environment)
    documents, objects = Documents(settings.documents), ObjectStore(settings.objects)
    token = await create_token(documents[TOKENS], institution=institution, name="test")
    connection = await aio_pika.connect(environment["RADBUS_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        world = World(replicas, institution, token, documents, objects)
        for key in ("series.completed.v1", "study.completed.v1", "instance.stored.v1"):
            await queue.bind(EVENTS, key)
        await queue.consume(world.listen, no_ack=True)
        yield world
    documents.close()
    objects.close()


async def test_a_series_is_stored_as_it_came_and_completed_once_it_is_quiet_and_then_its_study(world):
    study, series = uid(), uid()
    sent = [instance(n, study=study, series=series, SliceLocation=n * 2.5) for n in (1, 2, 3)]

    answer = await world.upload(*sent)
    record = await world.series(series, revision=1)
    [event] = await world.told(SERIES, series, count=1)
    [of_study] = await world.told(STUDY, study, count=1)

    assert answer.status_code == 200
    stored = await world.documents[records.INSTANCES].find({"institution": world.institution}, limit=9)
    assert {await world.objects.get(each["object_key"]) for each in stored} == set(sent)
    assert record["instance_count"] == 3
    assert record["elements"]["InstanceNumber"] == 2
    assert record["elements"]["PatientID"] == "$looks-like-a-field"
    assert record["all"]["SliceLocation"] == [2.5, 5.0, 7.5]
    assert event["data"]["revision"] == 1
    assert event["data"]["instance_count"] == 3
    assert event["data"]["source"]["token_name"] == "test"
    assert of_study["data"]["series_instance_uids"] == [series]
    assert len(await world.told(INSTANCE, f"{series}.1", count=1)) == 1


async def test_a_late_instance_makes_the_next_revision_and_a_repeated_one_does_not(world):
    study, series = uid(), uid()
    first, late = (instance(n, study=study, series=series) for n in (1, 2))
    await world.upload(first, **{"X-Series-Complete": "true"})
    await world.series(series, revision=1)
    await world.study(study, revision=1)

    await world.upload(first, **{"X-Series-Complete": "true"})
    await world.series(series, revision=1)
    await world.upload(late, **{"X-Series-Complete": "true"})
    record = await world.series(series, revision=2)
    await world.study(study, revision=2)

    assert record["touches"] == 2  # the same bytes again changed nothing
    assert record["instance_count"] == 2
    assert [e["data"]["revision"] for e in await world.told(SERIES, series, count=2)] == [1, 2]
    assert [e["data"]["revision"] for e in await world.told(STUDY, study, count=2)] == [1, 2]


async def test_replicas_that_share_a_series_lose_nothing_and_tell_each_revision_once(world):
    study, series = uid(), uid()

    answers = await asyncio.gather(
        *(world.upload(instance(n, study=study, series=series), replica=n % 2) for n in range(40))
    )
    record = await world.series(series, revision=1)
    await world.study(study, revision=1)

    assert {answer.status_code for answer in answers} == {200}
    assert record["instance_count"] == 40
    assert 0 < record["touches"] <= 40  # those that come at the same moment share one
    assert len({event["id"] for event in await world.told(SERIES, series, count=1)}) == 1


async def test_the_same_instance_sent_at_the_same_time_is_created_once(world):
    study, series = uid(), uid()
    content = instance(1, study=study, series=series)

    answers = await asyncio.gather(*(world.upload(content, replica=n % 2) for n in range(10)))

    created = [answer.json()["messages"]["file0"]["created"] for answer in answers]
    assert {answer.status_code for answer in answers} == {200}
    assert sum(created) == 1


async def test_institutions_may_have_the_same_uids_and_never_share_them(world):
    study, series = uid(), uid()
    other = await create_token(world.documents[TOKENS], institution=f"{world.institution}-other", name="test")
    await world.upload(instance(1, study=study, series=series))

    world.token = other
    answer = await world.upload(instance(1, study=study, series=series, AccessionNumber="other bytes"))

    assert answer.json()["messages"]["file0"]["created"] is True
    assert answer.json()["detailed_info"][0]["NumberOfSeriesRelatedInstances"] == 1


async def test_the_common_dicomweb_client_reads_the_answer(world):
    study, series = uid(), uid()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {world.token}"
    client = DICOMwebClient(world.urls[0], session=session)
    datasets = [dcmread(io.BytesIO(instance(n, study=study, series=series))) for n in (1, 2)]

    answer = await asyncio.to_thread(client.store_instances, datasets, study)

    assert len(answer.ReferencedSOPSequence) == 2
    assert "FailedSOPSequence" not in answer


async def test_a_zip_of_a_whole_series_is_stored_and_completed(world):
    study, series = uid(), uid()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(300):
            archive.writestr(f"ct/{number}", instance(number, study=study, series=series))

    answer = await world.upload(buffer.getvalue(), **{"X-Series-Complete": "true"})
    record = await world.series(series, revision=1)

    assert answer.status_code == 200
    assert record["instance_count"] == 300
    assert len(record["all"]["InstanceNumber"]) == 200


async def test_real_and_broken_files_sent_all_at_once_each_get_an_answer(world, shared_data):
    files = sorted(path for path in shared_data.rglob("*") if path.is_file() and path.suffix != ".csv")
    contents = [path.read_bytes() for path in files]
    parts = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in contents)

    upload = await world.upload(*contents)
    stow = await asyncio.to_thread(
        requests.post,
        f"{world.urls[0]}/studies",
        data=parts + b"--b--\r\n",
        headers={
            "Authorization": f"Token {world.token}",
            "Content-Type": "multipart/related; type=application/dicom; boundary=b",
        },
        timeout=120,
    )

    messages = upload.json()["messages"]
    payload = Dataset.from_json(stow.json())
    assert upload.status_code == 200
    assert len(messages) == len(files)
    assert stow.status_code == 202
    assert stow.headers["Content-Type"] == "application/dicom+json"
    assert len(payload.ReferencedSOPSequence) + len(payload.FailedSOPSequence) == len(files)
    stored = await world.documents[records.INSTANCES].find({"institution": world.institution}, limit=len(files))
    assert len(stored) == sum(message["created"] for message in messages.values())
    assert {await world.objects.get(each["object_key"]) for each in stored} <= set(contents)


ANSWERS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@schemathesis.serializer("application/dicom", "application/zip", "multipart/related")
def as_it_is(_: object, value: Any) -> bytes:
    """Send what schemathesis makes up for a media type that it does not know."""
    return value if isinstance(value, bytes) else str(value).encode()


def test_no_request_that_the_document_allows_has_an_answer_that_it_does_not_tell(replicas, stack, institution):
    token = asyncio.run(create_in(stack.environment(), institution=institution, name="test"))
    headers = {"Authorization": f"Token {token}"}
    operations = [
        found.ok() for found in schemathesis.openapi.from_url(f"{replicas[0]}/openapi.json").get_all_operations()
    ]

    for operation in operations:

        @settings(
            max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def answers_as_documented(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=ANSWERS, timeout=30)

        answers_as_documented()

    assert len(operations) >= 9
