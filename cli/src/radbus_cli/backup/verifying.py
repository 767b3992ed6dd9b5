"""Verifying a backup: every file is there and is what it was, and every document can be read."""

from __future__ import annotations

import gzip
import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from radbus_storage.copying import NotBsonError, document_of, read_bson
from radbus_storage.errors import ObjectMissingError

from radbus_cli.backup.listings import read_part
from radbus_cli.backup.manifest import Kept, Manifest, blob_name, digest
from radbus_cli.backup.vault import Vault


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and what is wrong with it."""

    id: str
    documents: int
    objects: int
    faults: tuple[str, ...]


async def verify(vault: Vault, manifest: Manifest, *, quick: bool = False) -> Verified:
    """Read a whole backup; `quick` takes the objects' sizes for their contents."""
    faults: list[str] = []
    documents = objects = 0
    with tempfile.TemporaryDirectory(prefix="radbus-backup-") as folder:
        scratch = Path(folder)
        for kept in chain.from_iterable(manifest.documents.values()):
            documents += await _documents(vault, kept, scratch, faults)
        for kept in manifest.listings:
            objects += await _objects(vault, kept, scratch, faults, quick=quick)
    if objects != manifest.object_count:
        faults.append(f"{objects} objects are listed, expected {manifest.object_count}")
    return Verified(manifest.id, documents, objects, tuple(faults))


async def _documents(vault: Vault, kept: Kept, scratch: Path, faults: list[str]) -> int:
    file = await _fetched(vault, kept.file, kept.sha256, scratch, faults)
    if file is None:
        return 0
    count = 0
    try:
        with gzip.open(file, "rb") as stream:
            for raw in read_bson(stream):
                document_of(raw)
                count += 1
    except (NotBsonError, EOFError, gzip.BadGzipFile) as error:
        faults.append(f"{kept.file}: {error}")
    if count != kept.count:
        faults.append(f"{kept.file}: {count} documents, expected {kept.count}")
    return count


async def _objects(vault: Vault, kept: Kept, scratch: Path, faults: list[str], *, quick: bool) -> int:
    if await _fetched(vault, kept.file, kept.sha256, scratch, faults) is None:
        return 0
    lines = await read_part(vault, kept.file, scratch)
    for line in lines:
        name = blob_name(line.sha256)
        if quick and (size_bytes := await vault.size_bytes(name)) != line.size_bytes:
            faults.append(f"{line.key}: {name} has {size_bytes} bytes, expected {line.size_bytes}")
        elif not quick:
            await _fetched(vault, name, line.sha256, scratch, faults)
    return len(lines)


async def _fetched(vault: Vault, name: str, sha256: str, scratch: Path, faults: list[str]) -> Path | None:
    file = scratch / "verified"
    try:
        await vault.get(name, file)
    except ObjectMissingError:
        faults.append(f"{name}: missing")
        return None
    if digest(file) != sha256:
        faults.append(f"{name}: not what it was when it was written")
        return None
    return file
