"""Removing old backups, and the objects that only they had: what was purged must not live on in a backup for ever."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from radbus_cli.backup.listings import lines_of, listing_folder, merged
from radbus_cli.backup.manifest import backup_ids, being_made, blob_name, manifest_name, read_manifest
from radbus_cli.backup.vault import Vault

_FOLDERS: Final = tuple(f"{number:02x}" for number in range(256))
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed; objects were left where a backup is being made: it may have copied some of them."""

    backups: tuple[str, ...]
    objects: int
    being_made: tuple[str, ...] = ()


async def prune(vault: Vault, *, keep: int) -> Pruned:
    """Keep the newest backups and the objects of those; while another backup is made, or once it is begun, all objects.

    Which objects those are is written to the disk, 32 bytes each, before the first object goes: a list that is missing
    or cannot be read ends it. A 256th of them, by the first two digits of their digests, is in memory at a time.
    """
    whole = await backup_ids(vault)
    if not whole:
        return Pruned((), 0)
    for backup_id in whole[:-keep]:
        # The manifest first: what is half removed is not whole.
        await vault.delete(manifest_name(backup_id))
        for name in await vault.names(f"backups/{backup_id}/"):
            await vault.delete(name)
    if being := await being_made(vault):
        return Pruned(tuple(whole[:-keep]), 0, tuple(being))
    there, removed = await backup_ids(vault, whole=False), 0
    with tempfile.TemporaryDirectory(prefix="radbus-backup-") as folder:
        scratch = Path(folder)
        await _write_wanted(vault, whole[-keep:], scratch)
        for each in _FOLDERS:
            if begun := set(await backup_ids(vault, whole=False)) - set(there):
                return Pruned(tuple(whole[:-keep]), removed, tuple(sorted(begun)))
            wanted = _read_wanted(scratch / each)
            for name in await vault.names(f"objects/{each}/"):
                if name not in wanted:
                    await vault.delete(name)
                    removed += 1
    return Pruned(tuple(whole[:-keep]), removed)


async def drop_killed(vault: Vault, *, before: str) -> None:
    """Remove the backups that were begun before this one, are not whole, and that nobody is making."""
    staying = {*await backup_ids(vault), *await being_made(vault)}
    for backup_id in await backup_ids(vault, whole=False):
        if backup_id not in staying and backup_id < before:
            for name in await vault.names(f"backups/{backup_id}/"):
                await vault.delete(name)


async def _write_wanted(vault: Vault, whole: list[str], scratch: Path) -> None:
    """Write the digests of the objects that stay, in a file for each two digits that they begin with."""
    lists = []
    for backup_id in await backup_ids(vault, whole=False):
        own = scratch / f"of-{backup_id}"
        own.mkdir()
        lists.append(lines_of(vault, await _parts(vault, backup_id, whole), own))
    with ExitStack() as stack:
        files = {each: stack.enter_context((scratch / each).open("wb")) for each in _FOLDERS}
        async for line in merged(lists):
            files[line.sha256[:2]].write(bytes.fromhex(line.sha256))


async def _parts(vault: Vault, backup_id: str, whole: list[str]) -> list[str]:
    if backup_id in whole:
        # As its manifest has them: none can be missing unseen.
        return [kept.file for kept in (await read_manifest(vault, backup_id)).listings]
    return await vault.names(listing_folder(backup_id))


def _read_wanted(file: Path) -> set[str]:
    digests = file.read_bytes()
    return {blob_name(digests[start : start + _DIGEST_BYTES].hex()) for start in range(0, len(digests), _DIGEST_BYTES)}
