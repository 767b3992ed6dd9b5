"""What ingest counts of the work behind it, on a real MongoDB, and how a store says that it is full."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr
from radbus_ingest.adapters.backlog import Backlog
from radbus_storage.documents import Documents
from radbus_storage.errors import StoreFullError
from radbus_storage.objects import ObjectStore
from radbus_storage.records import JOBS, SERIES
from radbus_storage.settings import ObjectSettings
from radbus_testing.programs import settings_of

pytestmark = pytest.mark.stack


@pytest.fixture
def documents(stack, institution) -> Iterator[Documents]:
    """A database that no service and no other test has."""
    settings = settings_of({**stack.environment(), "RADBUS_MONGO_DATABASE": institution})
    documents = Documents(settings.documents)
    yield documents
    documents.close()


def job(number: int, institution: str, *states: str, state: str = "active") -> dict:
    return {"_id": str(number), "institution": institution, "state": state, "tasks": [{"state": s} for s in states]}


async def test_only_tasks_that_wait_for_a_worker_are_counted_by_institution_up_to_a_bound(documents):
    jobs = [
        job(1, "north", "ready", "waiting"),
        job(2, "north", "ready", "ready"),
        job(3, "north", "running"),
        job(4, "south", "succeeded", "ready"),
        job(5, "south", "ready", state="cancelled"),
    ]
    for each in jobs:
        await documents[JOBS].insert(each)
    backlog = Backlog(documents, [])

    counted = await backlog.ready_tasks(limit=100)
    bounded = await backlog.ready_tasks(limit=2)

    assert counted == {"north": 3, "south": 1}
    assert sum(bounded.values()) <= 3  # of two jobs


async def test_only_records_with_an_event_that_is_not_told_are_counted_up_to_a_bound(documents):
    entry = {"id": "1", "at": datetime.now(UTC)}
    for number, outbox in enumerate(([entry], [entry, entry], [])):
        await documents[SERIES].insert({"_id": str(number), "outbox": outbox})
    backlog = Backlog(documents, [documents[SERIES]])

    assert await backlog.untold(limit=100) == 2
    assert await backlog.untold(limit=1) == 1


class Full(BaseHTTPRequestHandler):
    """Answers as MinIO does when no disk has room."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = (
            b"<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum</Message></Error>"
        )
        self.send_response(507)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def test_a_store_without_room_is_told_from_one_that_is_away():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Full)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    secret = SecretStr("secret-of-a-test")
    store = ObjectStore(ObjectSettings(url=url, public_url=url, access_key=secret, secret_key=secret))

    with pytest.raises(StoreFullError):
        await store.put("a", b"1", size_bytes=1)

    store.close()
    server.shutdown()
    server.server_close()
