"""Removing old backups, and the objects that only they had: what was purged must not live on in a backup for ever."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from radbus_cli.backup.listings import lines_of, listing_folder
from radbus_cli.backup.manifest import backup_ids, blob_name
from radbus_cli.backup.vault import Vault

_FOLDERS: Final = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed."""

    backups: tuple[str, ...]
    objects: int


async def prune(vault: Vault, *, keep: int) -> Pruned:
    """Keep the newest backups, and the objects of those and of one that is just being made.

    Objects go by the first two digits of their digests, so that a 256th of the names is in memory at a time.
    """
    old = (await backup_ids(vault))[:-keep]
    for backup_id in old:
        # The manifest first: what is half removed is not whole.
        names = await vault.names(f"backups/{backup_id}/")
        for name in sorted(names, key=lambda each: not each.endswith("/manifest.json")):
            await vault.delete(name)
    kept = await backup_ids(vault, whole=False)
    removed = 0
    for folder in _FOLDERS:
        there = await vault.names(f"objects/{folder}/")
        if not there:
            continue
        wanted = await _wanted(vault, kept, folder)
        for name in there:
            if name not in wanted:
                await vault.delete(name)
                removed += 1
    return Pruned(tuple(old), removed)


async def _wanted(vault: Vault, kept: list[str], folder: str) -> set[str]:
    found: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="radbus-backup-") as scratch:
        for backup_id in kept:
            parts = await vault.names(listing_folder(backup_id))
            async for line in lines_of(vault, parts, Path(scratch)):
                if line.sha256.startswith(folder):
                    found.add(blob_name(line.sha256))
    return found
