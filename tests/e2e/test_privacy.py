"""Nothing that identifies a patient is outside the two stores, whatever becomes of a series (invariant 6)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest
from pydantic import SecretStr
from radbus_contracts.identity import model_id
from radbus_contracts.topology import EVENTS, TASKS
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_storage.settings import DocumentSettings, ObjectSettings

pytestmark = pytest.mark.stack

MARKS = ("Zqxmark", "ZQXMARK")
MARKED = {
    "patient_name": "Zqxmark^Anna",
    "patient_id": "ZQXMARK-ID",
    "accession_number": "ZQXMARK-ACC",
    "study_description": "CT chest ZQXMARK",
    "series_description": "ZQXMARK",
}
SERVICES = ("ingest", "router", "scheduler", "results", "worker-0", "worker-1")
_COLLECTIONS = {value for name, value in vars(records).items() if name.isupper() and isinstance(value, str)}
WITHOUT_HEADERS = sorted(_COLLECTIONS - {records.INSTANCES, records.SERIES})
_AROUND = re.compile(rf".{{0,60}}(?:{'|'.join(MARKS)}).{{0,20}}")


async def test_no_mark_of_a_patient_leaves_the_two_stores_on_any_way_to_an_end(hospital, make_series):
    good, gap = make_series(**MARKED), make_series(**MARKED)
    unrouted = make_series(**{**MARKED, "study_description": "ZQXMARK", "body_part": "HEAD"})
    failing = make_series(**{**MARKED, "study_description": "ZQXMARK", "body_part": "ABDOMEN"})
    rubbish = [b"Zqxmark" * 100, good.instances[0][:1500], good.instances[1].replace(b"ZQXMARK-ID", b"ZQXMARK-XX")]
    async with heard_on_the_bus(hospital.stack.environment()) as messages:
        answers = [await asyncio.to_thread(hospital.upload, each.instances) for each in (good, unrouted)]
        answers.append(await asyncio.to_thread(hospital.upload, gap.instances[:10] + gap.instances[20:]))
        answers.append(await asyncio.to_thread(hospital.upload, failing.instances, source="broken"))
        answers.append(await asyncio.to_thread(hospital.upload, [*rubbish, good.instances[0]]))

        ends = [await asyncio.to_thread(hospital.result, each.uid) for each in (good, gap, unrouted, failing)]
        asked = [hospital.results(mark) for mark in MARKS]
        listed = [hospital.get("/inferences"), hospital.get("/jobs")]
        path = f"/api/models/{model_id('qct', 'lung-ct')}/patients/{MARKED['patient_id']}/inferences/"
        listed.append(hospital.get(path))

        assert [end.status_code for end in ends] == [200, 206, 400, 500]
        assert [answer.status_code for answer in asked] == [404, 404]
        assert good.uid in listed[-1].text  # found by the patient's id, which stands nowhere but in the address
        assert marks_in([*(str(answer) for answer in answers), *(each.text for each in (*ends, *listed))]) == []
        assert messages
        assert marks_in(messages) == []
    assert marks_in_files(hospital.stack.layout.log("any").parent) == []
    assert marks_in_files(hospital.stack.layout.root / "traces") == []
    assert marks_in(hospital.http.get(f"{hospital.stack.url(name)}/metrics").text for name in SERVICES) == []
    assert await marks_in_the_stores(hospital.stack.environment(), hospital.institution) == []


@asynccontextmanager
async def heard_on_the_bus(environment: dict[str, str]) -> AsyncIterator[list[str]]:
    """Hear every fact and order, headers and all."""
    heard: list[str] = []

    async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        heard.append(f"{message.routing_key} {message.headers} {message.body.decode()}")

    connection = await aio_pika.connect(environment["RADBUS_AMQP_URL"])
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EVENTS, "#")
        await queue.bind(TASKS, "worker.default")
        await queue.consume(note, no_ack=True)
        yield heard


def marks_in(texts: Iterable[str]) -> list[str]:
    """Return what surrounds each mark."""
    return [found for text in texts for found in _AROUND.findall(text)]


def marks_in_files(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [f"{path.name}: {mark}" for path in files for mark in marks_in([path.read_text(errors="replace")])]


async def marks_in_the_stores(environment: dict[str, str], institution: str) -> list[str]:
    """Look at the names of all objects, and at all records but those that hold headers."""
    documents = Documents(
        DocumentSettings(url=SecretStr(environment["RADBUS_MONGO_URL"]), database=environment["RADBUS_MONGO_DATABASE"])
    )
    objects = ObjectStore(
        ObjectSettings(
            url=environment["RADBUS_S3_URL"],
            public_url=environment["RADBUS_S3_URL"],
            access_key=SecretStr(environment["RADBUS_S3_ACCESS_KEY"]),
            secret_key=SecretStr(environment["RADBUS_S3_SECRET_KEY"]),
            bucket=environment["RADBUS_S3_BUCKET"],
        )
    )
    try:
        keys = await objects.keys(f"{institution}/", limit=10_000)
        found = [str(each) for name in WITHOUT_HEADERS for each in await documents[name].find({}, limit=100_000)]
        assert keys
        assert found
        return marks_in([*keys, *found])
    finally:
        objects.close()
        documents.close()
