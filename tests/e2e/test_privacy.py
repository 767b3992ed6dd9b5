"""Nothing that identifies a patient is outside the two stores, by whatever way it comes and whatever becomes of it.

Invariant 6. One patient, marked in every element, goes through all of radbus once; then each place is searched.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import uuid
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import psutil
import pymongo
import pytest
from pydantic import SecretStr
from pydicom.uid import generate_uid
from radbus_cli.tokens import create_in
from radbus_contracts.identity import model_id
from radbus_runtime.webhooks.subscriptions import Webhooks
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_storage.settings import ObjectSettings
from radbus_testing.phantom_dicom import PhantomHeader, phantom_instances
from radbus_testing.programs import settings_of
from radbus_testing.receiver import WebhookReceiver
from radbus_testing.waiting import eventually

from tests.conftest import Hospital, Series
from tests.e2e.marks import BIRTH_DATE, NAME, NAMES, PATIENT_ID, malformed, marked, marks_in, marks_in_files

pytestmark = pytest.mark.stack

SERVICES = ("ingest", "router", "scheduler", "results", "worker-0", "worker-1")
MARKED = {"patient_name": NAME, "patient_id": PATIENT_ID, "accession_number": "ZQXMARK-ACC"}
WITH_HEADERS = {records.INSTANCES: ("elements",), records.SERIES: ("elements", "all")}
POISON = "Yvwpoison"  # what somebody else puts into a message, which stays in that message
KEY_OF_WEBHOOK = "Yvwkey"
CALLS = 6  # three results, one that is not usable, a failure, and what no use case is for
BODY_OF = 'multipart/related; type="application/dicom"; boundary=b'


@dataclass(slots=True)
class Heard:
    """What passed on the bus, what was answered, and what a webhook was told."""

    messages: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def add(self, answer: httpx2.Response, *, echoed: str = "") -> httpx2.Response:
        """Keep an answer, but for what it repeats of the question."""
        said = f"{answer.status_code} {dict(answer.headers)} {answer.text}"
        self.answers.append(said.replace(echoed, "") if echoed else said)
        return answer


@pytest.fixture(scope="module")
def clinic(radbus) -> Hospital:
    institution = f"privacy-{uuid.uuid4().hex[:10]}"
    token = asyncio.run(create_in(radbus.environment(), institution=institution, name="ct"))
    return Hospital(radbus, institution, token)


@pytest.fixture(scope="module")
def new_series(small_chest) -> Callable[..., Series]:
    """Make a chest of the marked patient, in a character set."""

    def make(*, charset: str = "ISO_IR 192", **header: str) -> Series:
        study, uid = generate_uid(), generate_uid()
        whole = PhantomHeader(study_instance_uid=study, series_instance_uid=uid, **{**MARKED, **header})
        made = [marked(each, charset=charset) for each in phantom_instances(small_chest, whole)]
        return Series(study, uid, made, small_chest)

    return make


@pytest.fixture(scope="module")
def heard(clinic, new_series) -> Heard:
    """Send the patient through radbus by every way and to every end, and hear all that is said on the way."""
    told = Heard()
    clinic.stack.rabbitmq_tool("rabbitmqctl", "trace_on")
    try:
        with WebhookReceiver() as receiver:
            asyncio.run(_add_webhook(clinic, f"{receiver.url}?key={KEY_OF_WEBHOOK}"))
            asyncio.run(_live(clinic, new_series, told))
            eventually(lambda: len(receiver.calls) >= CALLS, timeout_s=60, what="calls of the webhook")
            told.calls = [f"{call.headers} {call.body!r}" for call in receiver.calls]
    finally:
        clinic.stack.rabbitmq_tool("rabbitmqctl", "trace_off")
    return told


async def _add_webhook(clinic: Hospital, url: str) -> None:
    documents = Documents(settings_of(clinic.stack.environment()).documents)
    await Webhooks(documents).add(clinic.institution, url)
    documents.close()


async def _live(clinic: Hospital, new_series: Callable[..., Series], told: Heard) -> None:
    async with _hearing(clinic.stack.environment()["RADBUS_AMQP_URL"], told.messages):
        series = await asyncio.to_thread(_send, clinic, new_series, told)
        await asyncio.to_thread(_ask, clinic, series, told)
        await _poison(clinic)


def _send(clinic: Hospital, new_series: Callable[..., Series], told: Heard) -> list[Series]:
    """Come in by every way: to a result in each character set, to a refusal, to nothing, to a failure."""
    good = [new_series(charset=charset) for charset in NAMES]
    gap, unrouted = new_series(), new_series(body_part="FOOT", study_description="ZQXMARK")
    failing = new_series(body_part="ABDOMEN", study_description="ZQXMARK", series_description="ZQXMARK")
    for each in good[:2]:
        _upload(clinic, told, {f"file{n}": one for n, one in enumerate(each.instances)})
    told.add(_stow(clinic, good[2].instances))
    _upload(
        clinic, told, {f"{NAME} {n}": one for n, one in enumerate(gap.instances[:10] + gap.instances[20:])}, echoed=True
    )
    _upload(clinic, told, {"zip": _zip(unrouted.instances)}, echoed=True)
    _upload(clinic, told, {f"file{n}": one for n, one in enumerate(failing.instances)}, source="broken")
    bad = malformed(good[0].instances[0])
    other = good[0].instances[0].replace(b"Zqxmark road 1", b"Zqxmark road 2")
    _upload(clinic, told, {**bad, "other content": other})
    told.add(_stow(clinic, [*bad.values(), other]))
    _upload(clinic, told, {"zip": _zip([*bad.values(), b""])}, echoed=True)
    for body in (_zip(gap.instances[:3]), _zip(bad.values()), b"Zqxmark", _zip(gap.instances)[:-40]):
        _start(clinic, told, body)
    ended = [each for each in (*good, gap, unrouted, failing) if told.add(clinic.result(each.uid, timeout_s=120))]
    assert [told.answers[each][:3] for each in range(-6, 0)] == ["200", "200", "200", "206", "400", "500"]
    return ended


def _ask(clinic: Hospital, series: list[Series], told: Heard) -> None:
    """Name the patient where an address, a query, a body or a header can."""
    for way in ("/results/", "/results/v2/", "/compute/", "/jobs/", "/inferences/", "/"):
        told.add(clinic.get(f"{way}{NAME}"), echoed=NAME)
        told.add(clinic.get(f"{way}{PATIENT_ID}"), echoed=PATIENT_ID)
    for path in ("/inferences", "/jobs"):
        for name in ("study", "series", "model", "use_case", "usecase", "cursor", "limit", "state", "since", "triage"):
            told.add(clinic.get(path, **{name: NAME}))
    found = told.add(clinic.get(_of_patient(PATIENT_ID)))
    assert series[0].uid in found.text  # found by the patient's id, which stands nowhere but in the address
    told.add(clinic.get(_of_patient(PATIENT_ID), cursor=NAME))
    marked_headers = {"PatientName": NAME, "PatientID": PATIENT_ID, "Modality": "CT", "SliceThickness": NAME}
    for body in ({"series": [marked_headers]}, {"series": NAME}, {NAME: 1}):
        told.add(clinic.http.post(clinic.url("/explain"), headers=clinic.headers, json=body), echoed=NAME)
    strange = {"tracestate": "zqxmark=1", "baggage": f"patient={PATIENT_ID}", "User-Agent": NAME, "Referer": NAME}
    told.add(clinic.http.get(clinic.url(f"/results/{series[0].uid}"), headers={**clinic.headers, **strange}))
    told.add(clinic.http.get(clinic.url("/jobs"), headers={"Authorization": f"Token {NAME}"}))
    told.add(clinic.http.get(clinic.url("/v1/ping"), headers={"API_AUTH_SECRET": PATIENT_ID}))
    told.add(clinic.http.request("BREW", clinic.url(f"/{NAME}")))


async def _poison(clinic: Hospital) -> None:
    """Let somebody else's message die whose body names a patient."""
    connection = await aio_pika.connect(clinic.stack.environment()["RADBUS_AMQP_URL"])
    async with connection, connection.channel() as channel:
        body = json.dumps({"id": POISON, "type": "x", "data": {"PatientName": POISON}}).encode()
        message = aio_pika.Message(body, content_type="application/cloudevents+json", message_id="of-somebody-else")
        await channel.default_exchange.publish(message, "router.series-completed")
        dead = await channel.get_queue("router.series-completed.dead")
        while (letter := await dead.get(fail=False)) is None or letter.message_id != "of-somebody-else":
            await asyncio.sleep(0.05)
        assert POISON not in str(letter.headers)
        await letter.ack()


def _of_patient(patient_id: str) -> str:
    return f"/api/models/{model_id('qct', 'lung-ct')}/patients/{patient_id}/inferences/"


def _upload(
    clinic: Hospital, told: Heard, parts: dict[str, bytes], *, source: str | None = None, echoed: bool = False
) -> None:
    headers = {**clinic.headers, "X-Series-Complete": "true"} | ({"Source": source} if source else {})
    files = [(name, (f"{NAME}.dcm", io.BytesIO(each), "application/dicom")) for name, each in parts.items()]
    answer = clinic.http.post(clinic.url("/upload"), headers=headers, files=files)
    assert answer.status_code < 500, answer.text
    if echoed:  # what the client calls its entries is how it is told of them
        told.answers.append(json.dumps(list(answer.json()["messages"].values())))
    else:
        told.add(answer)


def _stow(clinic: Hospital, instances: list[bytes]) -> httpx2.Response:
    parts = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in instances)
    headers = {
        **clinic.headers,
        "Content-Type": BODY_OF,
        "Accept": "application/dicom+json",
        "X-Series-Complete": "true",
    }
    return clinic.http.post(clinic.url("/studies"), headers=headers, content=parts + b"--b--\r\n")


def _start(clinic: Hospital, told: Heard, body: bytes) -> None:
    headers = {"API_AUTH_SECRET": clinic.token, "Accept": "text/html"}
    started = told.add(
        clinic.http.post(clinic.url("/v1/model/start/PassThroughModel:1729"), headers=headers, content=body)
    )
    if started.status_code != 201:
        return
    result = clinic.url(f"/v1/model/results/{started.text}")

    def ended() -> httpx2.Response | None:
        answer = clinic.http.get(result, headers=headers)
        return None if answer.status_code == 202 else answer

    answer = eventually(ended, timeout_s=60, what="the end of a run")
    if answer.status_code != 200:  # a result is the patient's own
        told.add(answer)


def _zip(instances: Any) -> bytes:
    """Put instances into a zip whose folders and comments name the patient."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.comment = NAME.encode()
        for number, each in enumerate(instances):
            entry = zipfile.ZipInfo(f"{NAME} {BIRTH_DATE}/{number}")
            entry.comment = PATIENT_ID.encode()
            archive.writestr(entry, each)
    return written.getvalue()


@asynccontextmanager
async def _hearing(url: str, heard: list[str]) -> AsyncIterator[None]:
    """Hear every message that is published or delivered, dead ones too, as the broker's own tracing tells of them."""

    async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        heard.append(f"{message.routing_key} {message.headers} {message.body!r}")

    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("amq.rabbitmq.trace", "#")
        await queue.consume(note, no_ack=True)
        yield


def test_no_answer_tells_who_the_patient_is(heard):
    assert len(heard.answers) > 50
    assert marks_in(heard.answers) == []


def test_no_message_on_the_bus_and_no_dead_letter_tells_it(heard):
    assert any("inference.completed" in each for each in heard.messages)
    assert any(".dead" in each for each in heard.messages)
    assert marks_in(heard.messages) == []


def test_no_webhook_is_told_it_and_no_log_and_no_trace_has_the_address_of_one(heard, clinic):
    root = clinic.stack.layout.root
    files = [path for folder in ("logs", "traces") for path in (root / folder).iterdir() if path.is_file()]
    written = [path.read_text(errors="replace") for path in files]

    assert all(any(what in each for each in heard.calls) for what in ("completed.v1", "failed.v1", "unrouted.v1"))
    assert marks_in(heard.calls) == []
    assert any("webhook.delivered" in each for each in written)
    assert any('"name": "webhook"' in each for each in written)
    assert not [each for each in written if KEY_OF_WEBHOOK in each]


def test_no_queue_exchange_or_binding_is_named_by_it(heard, clinic):
    listed = [
        clinic.stack.rabbitmq_tool("rabbitmqctl", *asked.split())
        for asked in ("list_queues name arguments", "list_exchanges name arguments", "list_bindings")
    ]

    assert "router.series-completed" in listed[0]
    assert marks_in(listed) == []


def test_no_file_of_any_program_outside_the_stores_has_it(heard, clinic):
    root = clinic.stack.layout.root

    found = marks_in_files(root, but=(root / "mongo", root / "s3"))

    logs = "".join((root / "logs" / f"worker-{number}.log").read_text() for number in range(2))
    assert '"level": "debug"' in logs
    assert found == []
    assert not [path for path in root.rglob("core*") if path.is_file() and b"ELF" in path.read_bytes()[:4]]


def test_no_log_quotes_what_somebody_else_put_into_a_message(heard, clinic):
    logs = [path for path in (clinic.stack.layout.root / "logs").iterdir() if path.is_file()]

    assert [path.name for path in logs if POISON in path.read_text(errors="replace")] == []


def test_nothing_is_left_in_the_folders_of_temporary_files(heard, clinic):
    folder = clinic.stack.layout.root.with_name(f"{clinic.stack.layout.root.name}-spool")

    assert folder.is_dir()
    assert [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size] == []


def test_no_metric_has_it(heard, clinic):
    programs = [each for name in SERVICES for each in clinic.stack.replicas_of(name)]
    urls = [f"{clinic.stack.url(name)}/metrics" for name in (*programs, "triton_metrics")]

    told = [httpx2.get(url, timeout=20).raise_for_status().text for url in urls]

    assert "radbus_" in told[0]
    assert marks_in(told) == []


def test_no_process_has_it_in_its_arguments_or_its_environment(heard, clinic):
    root = str(clinic.stack.layout.root)
    told = []
    for process in psutil.process_iter():
        try:
            environment, command = process.environ(), process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if root in str(command) or root in str(environment):
            told.append(f"{command} {environment}")

    assert len(told) > 8
    assert marks_in(told) == []


def test_no_object_is_named_by_it(heard, clinic):
    environment = clinic.stack.environment()
    settings = ObjectSettings(
        url=environment["RADBUS_S3_URL"],
        public_url=environment["RADBUS_S3_URL"],
        access_key=SecretStr(environment["RADBUS_S3_ACCESS_KEY"]),
        secret_key=SecretStr(environment["RADBUS_S3_SECRET_KEY"]),
        bucket=environment["RADBUS_S3_BUCKET"],
    )
    objects = ObjectStore(settings)

    keys = asyncio.run(objects.keys(f"{clinic.institution}/", limit=10_000))
    objects.close()

    assert keys
    assert marks_in(keys) == []


def test_no_record_has_it_but_in_the_header_elements_of_instances_and_series(heard, clinic):
    environment = clinic.stack.environment()
    with pymongo.MongoClient(environment["RADBUS_MONGO_URL"], timeoutMS=60_000) as client:
        database = client[environment["RADBUS_MONGO_DATABASE"]]
        names = database.list_collection_names()
        found, kept = [*names], 0
        for name in names:
            found.append(str(list(database[name].list_indexes())))
            for each in database[name].find({}):
                elements = [each.pop(field, None) for field in WITH_HEADERS.get(name, ())]
                kept += len(marks_in([str(elements)])) > 0
                found.append(f"{name}: {each}")

    assert {records.AUDIT, records.INSTANCES, records.OUTCOMES} <= set(names)
    assert kept  # or nothing would have been looked for
    assert marks_in(found) == []


@pytest.mark.parametrize(
    "command",
    [
        "jobs --json",
        "dead list --json",
        "trail list --limit 5000 --json",
        "trail list --limit 5000 --atna",
        "status",
    ],
)
def test_no_command_prints_it(heard, clinic, command):
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "RADBUS_STACK_ROOT": str(clinic.stack.layout.root),
        "RADBUS_STACK_BASE_PORT": str(clinic.stack.layout.base_port),
        "RADBUS_MACHINES_DIR": clinic.stack.environment()["RADBUS_MACHINES_DIR"],
        "RADBUS_TOKEN": clinic.token,
    }

    done = subprocess.run(
        [str(Path(sys.executable).parent / "radbus"), *command.split()],
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert marks_in([done.stdout, done.stderr]) == []


def test_the_search_finds_each_of_the_marks_in_whatever_form():
    """Otherwise all the others would pass for nothing."""
    forms = [
        *NAMES.values(),
        *(
            name.encode(encoding)
            for name, encoding in zip(NAMES.values(), ("utf-8", "latin-1", "iso2022_jp"), strict=True)
        ),
        json.dumps("麒麟鷲"),
        "%E9%BA%92%E9%BA%9F%E9%B7%B2",
        "born 1907-06-13",
        f'"{BIRTH_DATE}"',
        repr("Zqxm\u00e4rk".encode()),
    ]

    assert [form for form in forms if not marks_in([form])] == []
    assert marks_in(["1.2.840.19070613.1", "7190706130"]) == []
