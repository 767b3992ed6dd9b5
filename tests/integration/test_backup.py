"""Backup and restore, on the real servers: copied in the middle of the work, wiped, restored: the same answers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import pytest
from aio_pika.exceptions import ChannelNotFoundEntity
from radbus_cli.audit import object_settings
from radbus_cli.backup.listings import write_part
from radbus_cli.backup.manifest import (
    Kept,
    Manifest,
    ObjectLine,
    backup_ids,
    blob_name,
    manifest_name,
    read_manifest,
)
from radbus_cli.backup.pruning import prune
from radbus_cli.backup.vault import Vault, vault_of
from radbus_cli.backup.verifying import verify
from radbus_cli.dead_queues import queue_names
from radbus_cli.tokens import create_in
from radbus_contracts.topology import RETRY_STEPS_S, retry_exchange
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_testing.programs import answers, settings_of
from radbus_testing.waiting import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

INSTITUTION = f"north-{uuid.uuid4().hex[:8]}"
AT = datetime(2026, 11, 1, tzinfo=UTC)
READY_S = 90
RESULT_S = 120
UNDER_WAY = (202, 404)
RADBUS = (sys.executable, "-m", "radbus_cli")


class System:
    """One system: a database and a bucket of its own, and all of radbus in one process on them."""

    def __init__(self, environment: Mapping[str, str], name: str, port: int, folder: Path) -> None:
        self.environment = {**environment, "RADBUS_MONGO_DATABASE": name, "RADBUS_S3_BUCKET": name}
        self.url = f"http://127.0.0.1:{port}"
        self.token = ""
        self._port = port
        self._log = folder / f"{name}.log"
        self._program: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all of radbus, and wait until it is ready."""
        with self._log.open("ab") as out:
            self._program = subprocess.Popen(
                [*RADBUS, "serve", "--all", "--port", str(self._port)],
                env={**os.environ, **self.environment, "RADBUS_TRACES": "off"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: answers(f"{self.url}/readyz"), timeout_s=READY_S, what="ready system")

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        if self._program is not None:
            os.killpg(self._program.pid, signal.SIGKILL)
            self._program.wait()
            self._program = None

    def command(self, *arguments: str, status: int = 0) -> Any:
        """Run the operator's command here; what it prints as JSON."""
        given = {**self.environment, "PATH": os.environ["PATH"]}
        done = subprocess.run(
            [*RADBUS, *arguments],
            env=given,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stderr

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", headers={"Authorization": f"Token {self.token}"}, timeout=60)

    def upload(self, series: Any) -> None:
        files = [(f"f{n}", (f"{n}", each, "application/dicom")) for n, each in enumerate(series.instances)]
        headers = {"Authorization": f"Token {self.token}", "X-Series-Complete": "true"}
        answer = httpx2.post(f"{self.url}/upload", headers=headers, files=files, timeout=60)
        assert answer.status_code == 200, answer.text

    def result(self, uid: str) -> Any:
        """Wait for a result, whose links are told without what signs them."""

        def settled() -> httpx2.Response | None:
            answer = self.get(f"/results/{uid}")
            return None if answer.status_code in UNDER_WAY else answer

        answer = eventually(settled, timeout_s=RESULT_S, what=f"a result of {uid}")
        assert answer.status_code == 200, answer.text
        return self.told(answer)

    def told(self, answer: httpx2.Response) -> Any:
        """Read an answer, without what is of this system's bucket or of this moment in its links."""
        text = re.sub(r"\?X-Amz-[^\"]*", "", answer.text)
        return json.loads(text.replace(f"/{self.environment['RADBUS_S3_BUCKET']}/", "/bucket/"))

    async def objects(self) -> dict[str, tuple[bytes, str]]:
        """Read every object, with what it is said to be."""
        store = ObjectStore(object_settings(self.environment))
        try:
            keys = await store.keys("", limit=10_000)
            return {key: (await store.get(key), await store.content_type(key)) for key in keys}
        finally:
            store.close()


@pytest.fixture
def systems(stack, institution, tmp_path) -> Iterator[Callable[[str], System]]:
    """Make systems; each ends with the test."""
    made: list[System] = []

    def make(which: str) -> System:
        port = stack.layout.port("front")
        made.append(System(stack.environment(), f"{institution}-{which}", port, tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.kill()


async def forget_messages(environment: Mapping[str, str]) -> None:
    """Leave the broker as a new one: no backup has what was in its queues."""
    names = queue_names(Path(environment["RADBUS_MACHINES_DIR"]))
    connection = await aio_pika.connect(environment["RADBUS_AMQP_URL"])
    async with connection:
        for name in [*names, *(retry_exchange(step) for step in RETRY_STEPS_S)]:
            async with connection.channel() as channel:
                try:
                    await (await channel.declare_queue(name, passive=True)).delete(if_unused=False, if_empty=False)
                except ChannelNotFoundEntity:
                    continue


async def jobs_of(system: System) -> list[dict[str, Any]]:
    documents = Documents(settings_of(system.environment).documents)
    try:
        # The broker may hold what other tests told: their jobs are here, too.
        return await documents[records.JOBS].find({"institution": INSTITUTION}, limit=100)
    finally:
        documents.close()


def test_a_restored_system_gives_the_same_answers_ends_what_was_under_way_and_takes_new_series(
    systems, make_series, tmp_path
):
    old, target = systems("old"), str(tmp_path / "backups")
    old.start()
    old.token = asyncio.run(create_in(old.environment, institution=INSTITUTION, name="test"))
    done, under_way = make_series(), [make_series() for _ in range(3)]
    old.upload(done)
    result = old.result(done.uid)
    inferences = old.told(old.get("/inferences"))
    old.command("backup", target, "--json")  # while it serves
    for each in under_way:
        old.upload(each)
    eventually(lambda: asyncio.run(jobs_of(old))[1:], timeout_s=60, what="a job of what is under way")
    old.kill()
    objects = asyncio.run(old.objects())
    made = old.command("backup", target, "--json")
    verified = old.command("backup", "verify", target, "--json")
    refused = old.command("restore", target, status=1)
    asyncio.run(forget_messages(old.environment))

    new = systems("new")
    restored = new.command("restore", target, "--json")
    new.token = old.token
    assert asyncio.run(new.objects()) == objects
    new.start()

    assert new.result(done.uid) == result
    assert new.told(new.get("/inferences"))[-1:] == inferences[-1:]
    assert [new.result(each.uid)["usecase"] for each in under_way] == ["qct"] * 3
    further = make_series()
    new.upload(further)
    assert new.result(further.uid)["usecase"] == "qct"
    jobs = asyncio.run(jobs_of(new))
    assert sorted(job["state"] for job in jobs) == ["completed"] * 5
    assert "expected an empty" in refused
    assert verified["faults"] == []
    assert made["objects"] == len(objects)
    assert made["copied_objects"] < made["objects"]  # what the first backup had was not copied again
    assert restored["told_again"] > 0


async def test_a_bucket_of_backups_is_listed_whole_and_each_object_of_one_that_stays_stays(
    stack, institution, tmp_path
):
    vault = vault_of(f"s3://{institution}-backups/nightly", stack.environment())
    nights = ("2026-1", "2026-2", "2026-3")
    for night in nights:
        # More than the store lists at a time, and one object of each night's own.
        lines = [await stored(vault, name, tmp_path) for name in ("of all", f"of {night}")]
        parts = [await write_part(vault, night, number, lines, tmp_path) for number in range(2)]
        (tmp_path / "empty").touch()
        async with asyncio.TaskGroup() as group:
            for number in range(400):
                group.create_task(vault.put(f"backups/{night}/documents/{number:08}", tmp_path / "empty"))
        await vault.put(manifest_name(night), written(night, parts, tmp_path))

    listed, folders = await vault.names("backups/"), await vault.folders("backups/")
    removed = await prune(vault, keep=2)

    assert len(listed) == 3 * (400 + 3)
    assert folders == list(nights)
    assert (removed.backups, removed.objects) == (("2026-1",), 1)
    assert await backup_ids(vault) == ["2026-2", "2026-3"]
    for night in nights[1:]:
        assert (await verify(vault, await read_manifest(vault, night))).faults == ()
    vault.close()


async def stored(vault: Vault, name: str, folder: Path) -> ObjectLine:
    data = name.encode()
    (folder / "object").write_bytes(data)
    await vault.put(blob_name(sha256(data).hexdigest()), folder / "object")
    return ObjectLine(
        key=name, size_bytes=len(data), modified_at=AT, sha256=sha256(data).hexdigest(), content_type="text/plain"
    )


def written(night: str, parts: list[Kept], folder: Path) -> Path:
    manifest = Manifest(
        id=night,
        started_at=AT,
        finished_at=AT,
        documents={},
        listings=tuple(parts),
        object_count=sum(part.count for part in parts),
        object_bytes=0,
        copied_objects=0,
        copied_bytes=0,
    )
    (folder / "manifest").write_text(manifest.model_dump_json())
    return folder / "manifest"


def test_a_restore_is_refused_while_services_run(systems, tmp_path):
    system = systems("running")
    system.start()

    refused = system.command("restore", str(tmp_path), status=1)

    assert "expected that no service runs" in refused
