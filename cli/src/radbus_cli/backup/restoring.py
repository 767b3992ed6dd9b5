"""Restoring a backup into an empty system: objects, then documents, then what nobody had heard of yet."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from radbus_contracts.errors import PermanentError
from radbus_contracts.topology import QUEUES
from radbus_storage import records
from radbus_storage.copying import load, read_bson
from radbus_storage.documents import NOW, Documents
from radbus_storage.errors import AlreadyThereError, ObjectMissingError
from radbus_storage.objects import ObjectStore

from radbus_cli.backup.listings import read_part
from radbus_cli.backup.manifest import COLLECTIONS, BackupError, Kept, Manifest, ObjectLine, blob_name, digest
from radbus_cli.backup.retelling import tell_again
from radbus_cli.backup.vault import AT_A_TIME, Vault
from radbus_cli.dead_queues import DeadQueues

log = structlog.get_logger(__name__)

_BATCH: Final = 200
# What a service that was started writes all the same, before anybody has sent anything.
_MAY_BE_THERE: Final = frozenset({records.AUDIT, records.MIGRATIONS})


class NotEmptyError(PermanentError):
    """There is data already where a backup was to be restored."""


class Restorer:
    """Restores one backup; one that was killed is gone on with by the same backup."""

    def __init__(self, documents: Documents, objects: ObjectStore, vault: Vault) -> None:
        self._documents = documents
        self._objects = objects
        self._vault = vault
        self._restores = documents[records.RESTORES]

    async def restore(self, manifest: Manifest) -> int:
        """Bring everything back; return how many messages will be told again.

        Raises:
            NotEmptyError: There are records or objects, and not of this backup.
            BackupError: A file of the backup is not what it was.
        """
        await self._objects.ensure_bucket()
        await self._begin(manifest)
        with tempfile.TemporaryDirectory(prefix="radbus-restore-") as folder:
            scratch = Path(folder)
            for kept in manifest.listings:
                await self._objects_of(kept, scratch)
            for name in COLLECTIONS:
                for kept in manifest.documents.get(name, ()):
                    await self._documents_of(name, kept, scratch)
                log.info("restore.collection_restored", collection=name, count=manifest.counts().get(name, 0))
        told = await tell_again(self._documents, since=manifest.started_at)
        done = [{"$set": {"state": "restored", "finished_at": NOW}}]
        await self._restores.update({"_id": manifest.id}, done)
        return told

    async def _begin(self, manifest: Manifest) -> None:
        if await self._restores.find_one({"_id": manifest.id, "state": "restoring"}) is not None:
            log.info("restore.resumed", backup=manifest.id)
            return
        for name in (*COLLECTIONS, records.RESTORES):
            if name not in _MAY_BE_THERE and await self._documents[name].count({}, limit=1):
                raise NotEmptyError(f"expected an empty database, and there are records in {name}")
        if await self._objects.keys("", limit=1):
            raise NotEmptyError("expected an empty bucket, and there are objects")
        begun = {"state": "restoring", "started_at": await self._documents.now(), "finished_at": None}
        with suppress(AlreadyThereError):
            await self._restores.insert({"_id": manifest.id, **begun})

    async def _objects_of(self, kept: Kept, scratch: Path) -> None:
        await self._fetched(kept.file, kept.sha256, scratch / "checked")
        free = asyncio.Semaphore(AT_A_TIME)

        async def one(line: ObjectLine) -> None:
            async with free:
                await self._object(line, scratch)

        async with asyncio.TaskGroup() as group:
            for line in await read_part(self._vault, kept.file, scratch):
                group.create_task(one(line))

    async def _object(self, line: ObjectLine, scratch: Path) -> None:
        with suppress(ObjectMissingError):
            if await self._objects.size_bytes(line.key) == line.size_bytes:
                return  # of the restore that was killed
        with tempfile.NamedTemporaryFile(dir=scratch, suffix=".object") as temporary:
            file = Path(temporary.name)
            await self._fetched(blob_name(line.sha256), line.sha256, file)
            await self._objects.upload(line.key, file, content_type=line.content_type)

    async def _documents_of(self, name: str, kept: Kept, scratch: Path) -> None:
        file = scratch / "documents.bson.gz"
        await self._fetched(kept.file, kept.sha256, file)
        with gzip.open(file, "rb") as stream:
            for batch in _batches(read_bson(stream)):
                await load(self._documents, name, batch)

    async def _fetched(self, name: str, sha256: str, file: Path) -> None:
        try:
            await self._vault.get(name, file)
        except ObjectMissingError as error:
            raise BackupError(f"{name} is missing in the backup") from error
        if await asyncio.to_thread(digest, file) != sha256:
            raise BackupError(f"{name} is not what it was when it was written")


def _batches(documents: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(documents, _BATCH)):
        yield batch


async def refuse_while_services_run(url: str) -> None:
    """Make sure that nobody hears or tells while records are being restored.

    Raises:
        NotEmptyError: A queue of radbus's has a consumer.
        BrokerUnreachableError: The broker does not answer.
    """
    async with DeadQueues.of(url) as queues:
        for queue in QUEUES:
            state = await queues.state(queue.name)
            if state is not None and state.consumers:
                raise NotEmptyError(f"expected that no service runs, and queue {queue.name} has consumers")
