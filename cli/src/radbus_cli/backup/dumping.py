"""The records of a backup, a collection in parts: neither the disk nor a transfer has to hold a whole one."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from radbus_cli.backup.manifest import Kept, digest
from radbus_cli.backup.vault import Vault

PART_BYTES: Final = 64 * 1024 * 1024
"""A part ends with the record that reaches so much, before it is packed."""


async def write_records(
    vault: Vault, folder: str, raw: AsyncIterator[bytes], scratch: Path, *, part_bytes: int = PART_BYTES
) -> tuple[Kept, ...]:
    """Keep the records of a collection, each as its BSON, in a folder of the vault."""
    parts: list[Kept] = []
    while True:
        file, name = scratch / "documents.bson.gz", f"{folder}{len(parts):08}.bson.gz"
        count = await _pack(raw, file, part_bytes)
        if not count:
            return tuple(parts)
        await vault.put(name, file)
        parts.append(Kept(file=name, count=count, size_bytes=file.stat().st_size, sha256=digest(file)))


async def _pack(raw: AsyncIterator[bytes], file: Path, part_bytes: int) -> int:
    count = size_bytes = 0
    with gzip.open(file, "wb", compresslevel=5) as out:
        async for each in raw:
            out.write(each)
            count += 1
            size_bytes += len(each)
            if size_bytes >= part_bytes:
                break
    return count
