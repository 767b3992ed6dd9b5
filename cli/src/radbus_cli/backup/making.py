"""Making a backup: the documents first, then every object that is there by then."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final

import structlog
from radbus_storage.copying import dump
from radbus_storage.documents import Documents
from radbus_storage.errors import ObjectMissingError
from radbus_storage.objects import ObjectEntry, ObjectStore

from radbus_cli.backup.dumping import write_records
from radbus_cli.backup.listings import Known, write_part
from radbus_cli.backup.manifest import (
    COLLECTIONS,
    BackupError,
    Kept,
    Manifest,
    ObjectLine,
    blob_name,
    digest,
    manifest_name,
    new_id,
)
from radbus_cli.backup.pruning import drop_killed
from radbus_cli.backup.vault import AT_A_TIME, Vault

log = structlog.get_logger(__name__)

_PAGE: Final = 500


@dataclass(slots=True)
class _Count:
    objects: int = 0
    size_bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0


class BackupMaker:
    """Copies both stores into a vault; what is there already is not copied again."""

    def __init__(self, documents: Documents, objects: ObjectStore, vault: Vault) -> None:
        self._documents = documents
        self._objects = objects
        self._vault = vault
        self._id = new_id()
        self._count = _Count()

    async def make(self) -> Manifest:
        """Make one backup; what an earlier one that was killed has copied is used.

        Raises:
            BackupError: It stood still, and another one took it for one that was killed.
        """
        started_at = datetime.now(UTC)
        with tempfile.TemporaryDirectory(prefix="radbus-backup-") as folder:
            scratch = Path(folder)
            documents = {name: await self._copy_documents(name, scratch) for name in COLLECTIONS}
            # After the records: each of their objects was stored before them.
            listings = await self._copy_objects(scratch)
            manifest = Manifest(
                id=self._id,
                started_at=started_at,
                finished_at=datetime.now(UTC),
                documents=documents,
                listings=tuple(listings),
                object_count=self._count.objects,
                object_bytes=self._count.size_bytes,
                copied_objects=self._count.copied,
                copied_bytes=self._count.copied_bytes,
            )
            await self._check_parts(manifest)
            file = scratch / "manifest.json"
            file.write_text(manifest.model_dump_json(indent=2))
            await self._vault.put(manifest_name(self._id), file)
        await drop_killed(self._vault, before=self._id)  # what they had copied is in this one
        return manifest

    async def _copy_documents(self, name: str, scratch: Path) -> tuple[Kept, ...]:
        folder = f"backups/{self._id}/documents/{name}/"
        parts = await write_records(self._vault, folder, dump(self._documents, name), scratch)
        log.info("backup.collection_copied", collection=name, count=sum(part.count for part in parts))
        return parts

    async def _copy_objects(self, scratch: Path) -> list[Kept]:
        known, parts = await Known.of(self._vault, scratch), list[Kept]()
        async for page in self._objects.walk("", page=_PAGE):
            earlier = [await known.find(entry.key) for entry in page]
            free = asyncio.Semaphore(AT_A_TIME)

            async def one(entry: ObjectEntry, lines: list[ObjectLine], free: asyncio.Semaphore = free) -> ObjectLine:
                async with free:
                    return await self._copy(entry, lines, scratch)

            copied = await asyncio.gather(*map(one, page, earlier), return_exceptions=True)
            lines = [each for each in copied if isinstance(each, ObjectLine)]
            for fault in copied:
                # One that was erased since it was listed is not to be kept.
                if isinstance(fault, BaseException) and not isinstance(fault, ObjectMissingError):
                    raise fault
            parts.append(await write_part(self._vault, self._id, len(parts), lines, scratch))
        return parts

    async def _copy(self, entry: ObjectEntry, earlier: list[ObjectLine], scratch: Path) -> ObjectLine:
        line = next((each for each in earlier if _is_same(each, entry)), None)
        if line is None or await self._vault.size_bytes(blob_name(line.sha256)) != line.size_bytes:
            with tempfile.NamedTemporaryFile(dir=scratch, suffix=".object") as temporary:
                file = Path(temporary.name)
                await self._objects.download(entry.key, file)
                read, size_bytes = await asyncio.to_thread(_measured, file)
                if await self._vault.size_bytes(blob_name(read)) != size_bytes:
                    await self._vault.put(blob_name(read), file)
                    self._count.copied += 1
                    self._count.copied_bytes += size_bytes
            line = ObjectLine(
                key=entry.key,
                size_bytes=size_bytes,
                modified_at=entry.modified_at,
                sha256=read,
                content_type=await self._objects.content_type(entry.key),
            )
        self._count.objects += 1
        self._count.size_bytes += line.size_bytes
        return line

    async def _check_parts(self, manifest: Manifest) -> None:
        """Look for the first file: somebody who took this backup for one that was killed has removed all of them."""
        parts = [*manifest.listings, *chain.from_iterable(manifest.documents.values())]
        if parts and await self._vault.size_bytes(parts[0].file) is None:
            raise BackupError(
                f"backup {self._id} stood still for so long that another one has removed it; make it anew"
            )


def _measured(file: Path) -> tuple[str, int]:
    return digest(file), file.stat().st_size


def _is_same(line: ObjectLine, entry: ObjectEntry) -> bool:
    return (line.size_bytes, line.modified_at) == (entry.size_bytes, entry.modified_at)
