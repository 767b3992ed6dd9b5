"""The list of a backup's objects, in parts of one page each, in the order of the keys; and reading it again."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Sequence
from heapq import heapify, heappop, heapreplace
from pathlib import Path

from radbus_cli.backup.manifest import BackupError, Kept, ObjectLine, backup_ids, digest
from radbus_cli.backup.vault import Vault


def listing_folder(backup_id: str) -> str:
    """Name the folder of a backup's list of objects."""
    return f"backups/{backup_id}/objects/"


async def write_part(vault: Vault, backup_id: str, number: int, lines: Sequence[ObjectLine], scratch: Path) -> Kept:
    """Keep one part of the list."""
    name, file = f"{listing_folder(backup_id)}{number:08}.jsonl.gz", scratch / "part.jsonl.gz"
    with gzip.open(file, "wt") as out:
        out.writelines(f"{line.model_dump_json()}\n" for line in lines)
    await vault.put(name, file)
    return Kept(file=name, count=len(lines), size_bytes=file.stat().st_size, sha256=digest(file))


async def read_part(vault: Vault, name: str, scratch: Path) -> list[ObjectLine]:
    """Read one part of a list.

    Raises:
        ObjectMissingError: It is not there.
        BackupError: It is not what it was.
    """
    file = scratch / "read.jsonl.gz"
    await vault.get(name, file)
    try:
        with gzip.open(file, "rt") as stream:
            return [ObjectLine.model_validate_json(line) for line in stream]
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise BackupError(f"{name} is not what it was when it was written") from error


async def lines_of(vault: Vault, parts: Sequence[str], scratch: Path) -> AsyncIterator[ObjectLine]:
    """Read a list, a part at a time."""
    for name in parts:
        for line in await read_part(vault, name, scratch):
            yield line


async def merged(lists: Sequence[AsyncIterator[ObjectLine]]) -> AsyncIterator[ObjectLine]:
    """Read several lists at once, in the order of the keys; what all of them say of a key is given once."""
    heads = [
        (line.key.encode(), line.sha256, number, line)
        for number, each in enumerate(lists)
        if (line := await anext(each, None)) is not None
    ]
    heapify(heads)
    given: tuple[bytes, str] | None = None
    while heads:
        key, sha256, number, line = heads[0]
        if (key, sha256) != given:
            given = (key, sha256)
            yield line
        following = await anext(lists[number], None)
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following.key.encode(), following.sha256, number, following))


class Known:
    """What earlier backups have of the objects: asked in the order of the keys, it reads each list once.

    A store that lists in another order only has some objects read again: they are kept by their content.

    Of the newest backup that is whole, and of those begun since: what they had copied need not be copied again.
    """

    def __init__(self, lists: Sequence[AsyncIterator[ObjectLine]]) -> None:
        self._lists = lists
        self._heads: list[ObjectLine | None] = [None] * len(lists)
        self._ended = [False] * len(lists)

    @classmethod
    async def of(cls, vault: Vault, scratch: Path) -> Known:
        """Open the lists."""
        whole = await backup_ids(vault)
        begun = [each for each in await backup_ids(vault, whole=False) if not whole or each > whole[-1]]
        lists = []
        for number, backup_id in enumerate([*whole[-1:], *begun]):
            folder = scratch / f"known-{number}"
            folder.mkdir()
            lists.append(lines_of(vault, await vault.names(listing_folder(backup_id)), folder))
        return cls(lists)

    async def find(self, key: str) -> list[ObjectLine]:
        """Return what the lists say of a key, which must come after the one that was asked for before."""
        found = []
        for number in range(len(self._lists)):
            head = await self._forward(number, key)
            if head is not None and head.key == key:
                found.append(head)
        return found

    async def _forward(self, number: int, key: str) -> ObjectLine | None:
        while not self._ended[number]:
            head = self._heads[number]
            if head is not None and head.key.encode() >= key.encode():
                return head
            self._heads[number] = await anext(self._lists[number], None)
            self._ended[number] = self._heads[number] is None
        return None
