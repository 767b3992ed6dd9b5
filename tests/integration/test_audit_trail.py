"""The audit trail on a real MongoDB: services that start and stop, operators at work, and what is printed of it."""

from __future__ import annotations

import asyncio
import getpass
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import aio_pika
import httpx2
import pytest
from radbus_cli.__main__ import app
from radbus_cli.backup.restoring import NotEmptyError
from radbus_cli.database import with_documents
from radbus_cli.dead import NoLetterError
from radbus_cli.tokens import create_in
from radbus_contracts.topology import ROUTER_SERIES_COMPLETED
from radbus_runtime.audit.access import Access
from radbus_runtime.audit.codes import READ, EventId, ObjectKind, Outcome
from radbus_runtime.audit.events import Asked
from radbus_runtime.audit.trail import AUDIT_INDEXES, AuditTrail
from radbus_runtime.auth.keeping import TokenNotFoundError
from radbus_runtime.auth.principal import Principal
from radbus_runtime.declare import declare_topology
from radbus_storage.documents import Document, Documents
from radbus_testing.programs import service_running
from typer.testing import CliRunner

pytestmark = pytest.mark.stack

ASKED = Asked("GET", "/results/{uid}", 200, "192.0.2.7")


@pytest.fixture
def radbus_command(stack, monkeypatch) -> Callable[..., str]:
    """Run a command on this stack and return what it prints."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("RADBUS_STACK_ROOT", str(stack.layout.root))
    monkeypatch.setenv("RADBUS_STACK_BASE_PORT", str(stack.layout.base_port))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments)
        if done.exception is not None:
            raise done.exception
        return done.stdout

    return run


@pytest.fixture
def events(stack) -> Callable[..., list[Document]]:
    """Read events, oldest first."""

    def read(**where: object) -> list[Document]:
        def find(documents: Documents) -> object:
            spelled = {name.replace("__", "."): value for name, value in where.items()}
            return documents.audit.find(spelled, limit=1000, sort=[("at", 1)])

        return asyncio.run(with_documents(stack.environment(), find))  # type: ignore[arg-type]

    return read


def an_access(institution: str, *uids: str) -> Access:
    access = Access(READ, Principal(institution, "ct"), admitted=True)
    access.about(ObjectKind.STUDY, uids)
    return access


async def test_requests_that_end_together_are_each_recorded_once(stack, institution):
    async def record(documents: Documents) -> int:
        trail = AuditTrail(documents, "test")
        await trail.collection.ensure_indexes(AUDIT_INDEXES)
        await asyncio.gather(*(trail.record_access(an_access(institution, f"1.2.{n}"), ASKED) for n in range(1200)))
        found = await trail.collection.find({"institution": institution}, limit=5000)
        return len({each["objects"][0]["uid"] for each in found}) if len(found) == 1200 else -len(found)

    assert await with_documents(stack.environment(), record) == 1200


def test_a_service_records_who_asked_and_its_own_start_and_stop(stack, base_port, events, institution, tmp_path):
    token = asyncio.run(create_in(stack.environment(), institution=institution, name="ward"))
    port = base_port + 400

    with service_running("results", stack.environment(), port=port, log=tmp_path / "results.log") as url:
        headers = {"Authorization": f"Token {token}", "X-Forwarded-For": "192.0.2.44"}
        answer = httpx2.get(f"{url}/results/1.2.3", headers=headers, timeout=30)

    (access,) = events(institution=institution, source__service="results")
    own = [each["event"]["type"] for each in events(source__replica=access["source"]["replica"])]
    assert answer.status_code == 404
    assert (access["participants"][0]["user"], access["participants"][0]["address"]) == ("ward", "192.0.2.44")
    assert own == ["110120", None, "110121"]
    (line,) = [each for each in (tmp_path / "results.log").read_text().splitlines() if access["_id"] in each]
    assert json.loads(line)["event"] == "audit.recorded"
    assert json.loads(line)["route"] == "GET /results/{uid}"
    assert json.loads(line)["objects"] == ["uid 1.2.3"]


def test_what_an_operator_does_to_tokens_is_an_alert_with_the_operators_name(radbus_command, events, institution):
    made = json.loads(radbus_command("tokens", "create", institution, "--json"))
    radbus_command("tokens", "revoke", made["id"])

    told = events(objects__uid=made["id"])
    assert [(each["event"]["id"], each["event"]["type"]) for each in told] == [("110113", "110137")] * 2
    assert {each["participants"][0]["user"] for each in told} == {getpass.getuser()}
    assert made["token"] not in str(told)


def test_what_an_operator_does_to_a_dead_letter_is_recorded_with_the_letter(stack, radbus_command, events):
    letter = str(uuid.uuid4())
    asyncio.run(bury(stack.environment()["RADBUS_AMQP_URL"], letter))

    radbus_command("dead", "show", letter, "--json")
    radbus_command("dead", "drop", letter, "--yes", "--json")

    told = events(objects__uid=letter)
    assert [each["event"]["action"] for each in told] == ["R", "D"]
    assert told[0]["objects"] == [{"kind": "message", "uid": letter}, {"kind": "uid", "uid": "1.2.3"}]


def test_a_backup_is_an_export_and_a_restore_an_import_with_how_each_ended(
    radbus_command, events, institution, tmp_path
):
    radbus_command("tokens", "create", institution, "--json")

    made = json.loads(radbus_command("backup", str(tmp_path), "--json"))
    with pytest.raises(NotEmptyError):
        radbus_command("restore", str(tmp_path))

    exported, imported = events(objects__uid=made["id"])
    assert (exported["event"]["id"], exported["event"]["outcome"]) == (EventId.EXPORT, Outcome.SUCCESS)
    assert (imported["event"]["id"], imported["event"]["outcome"]) == (EventId.IMPORT, Outcome.MINOR_FAILURE)
    assert {each["participants"][0]["user"] for each in (exported, imported)} == {getpass.getuser()}


def test_what_an_operator_tries_in_vain_is_recorded_as_a_failure(radbus_command, events):
    letter = str(uuid.uuid4())
    began = datetime.now(UTC)

    with pytest.raises(TokenNotFoundError):
        radbus_command("tokens", "revoke", "0" * 12)
    with pytest.raises(NoLetterError):
        radbus_command("dead", "show", letter)

    told = events(at={"$gte": began}, source__service="cli")
    assert [(each["event"]["id"], each["event"]["outcome"]) for each in told] == [
        (EventId.SECURITY_ALERT, Outcome.MINOR_FAILURE),
        (EventId.PROCEDURE_RECORD, Outcome.MINOR_FAILURE),
    ]


def test_the_trail_is_listed_by_uid_user_outcome_and_age_and_that_is_recorded(
    stack, radbus_command, events, institution
):
    async def record(documents: Documents) -> None:
        trail = AuditTrail(documents, "test")
        await trail.record_access(an_access(institution, f"1.2.{institution[5:]}"), ASKED)
        await trail.record_access(an_access(institution, "1.2.5"), Asked("GET", "/results/{uid}", 404, "192.0.2.7"))

    asyncio.run(with_documents(stack.environment(), record))

    def listed(*options: str) -> list[Document]:
        return json.loads(radbus_command("trail", "list", "--institution", institution, *options, "--json"))["events"]

    (by_uid,) = listed("--uid", f"1.2.{institution[5:]}")
    (message,) = radbus_command("trail", "list", "--uid", f"1.2.{institution[5:]}", "--atna").splitlines()
    table = radbus_command("trail", "list", "--institution", institution)

    assert by_uid["event"]["outcome"] == 0
    assert [each["request"]["status"] for each in listed()] == [200, 404]
    assert [each["request"]["status"] for each in listed("--outcome", "failure")] == [404]
    assert [len(listed("--user", name)) for name in ("ct", "nobody")] == [2, 0]
    assert [len(listed("--since", age)) for age in ("1h", "0s")] == [2, 0]
    assert len(listed("--limit", "1")) == 1
    assert ET.fromstring(message).find("EventIdentification/EventID").get("csd-code") == "110103"  # type: ignore[union-attr]
    assert "192.0.2.7" in table
    assert events(event__id="110101")[-1]["participants"][0]["user"] == getpass.getuser()


async def bury(url: str, letter: str) -> None:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        await declare_topology(channel)
        body = json.dumps({"id": letter, "type": "t", "subject": "1.2.3"}).encode()
        await channel.default_exchange.publish(aio_pika.Message(body, message_id=letter), ROUTER_SERIES_COMPLETED.dead)
