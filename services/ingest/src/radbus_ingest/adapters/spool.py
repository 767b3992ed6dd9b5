"""Where the bytes of a part wait to be stored: in memory while small and few, else in a file without a name."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

_ZIP_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")
_DICM_AT = 128


class Room:
    """Counts what all spools of the service hold, so that memory and disk stay within their bounds."""

    def __init__(self, *, memory_bytes: int, part_memory_bytes: int, folder: Path | None = None) -> None:
        self.folder = folder
        self.part_memory_bytes = part_memory_bytes
        self._memory_limit_bytes = memory_bytes
        self._lock = threading.Lock()  # bodies are taken apart in threads
        self._memory_bytes = 0
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """What waits to be stored now, in memory and files."""
        return self._used_bytes

    def take(self, size_bytes: int) -> None:
        """Count bytes that came in."""
        with self._lock:
            self._used_bytes += size_bytes

    def take_memory(self, size_bytes: int) -> bool:
        """Reserve memory, if there is some left."""
        with self._lock:
            if self._memory_bytes + size_bytes > self._memory_limit_bytes:
                return False
            self._memory_bytes += size_bytes
            return True

    def give_back(self, *, used_bytes: int, memory_bytes: int) -> None:
        """Count bytes that no longer wait."""
        with self._lock:
            self._used_bytes -= used_bytes
            self._memory_bytes -= memory_bytes


class Spool:
    """The bytes of one part, hashed as they come; beyond `limit_bytes` they are dropped and `is_too_large` is true."""

    def __init__(self, room: Room, *, limit_bytes: int) -> None:
        self._room = room
        self._limit_bytes = limit_bytes
        self._memory_bytes = 0
        self._in_memory = True
        self._hash = hashlib.sha256()
        self.file: BinaryIO = BytesIO()
        self.size_bytes = 0
        self.is_too_large = False

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes; may touch the disk, so call it in a thread.

        Raises:
            OSError: The disk is full.
        """
        if self.is_too_large or self.size_bytes + len(data) > self._limit_bytes:
            self.is_too_large = True
            return
        if self._in_memory and not self._fits_memory(len(data)):
            self._move_to_disk()
        self.file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)
        self._room.take(len(data))

    @property
    def sha256(self) -> str:
        """The hash of all bytes, in hexadecimal."""
        return self._hash.hexdigest()

    def is_zip(self) -> bool:
        """Whether this is an archive and not an instance (whose preamble may hold anything, PS3.10 7.1)."""
        self.file.seek(0)
        beginning = self.file.read(_DICM_AT + 4)
        self.file.seek(0)
        return beginning.startswith(_ZIP_BEGINNINGS) and beginning[_DICM_AT:] != b"DICM"

    def close(self) -> None:
        """Free what the bytes take; closing twice is closing once."""
        if self.file.closed:
            return
        self.file.close()
        self._room.give_back(used_bytes=self.size_bytes, memory_bytes=self._memory_bytes)
        self._memory_bytes = 0

    def _fits_memory(self, more_bytes: int) -> bool:
        if self.size_bytes + more_bytes > self._room.part_memory_bytes or not self._room.take_memory(more_bytes):
            return False
        self._memory_bytes += more_bytes
        return True

    def _move_to_disk(self) -> None:
        file = tempfile.TemporaryFile(dir=self._room.folder)  # noqa: SIM115 - closed by close()
        self.file.seek(0)
        file.write(self.file.read())
        self.file.close()
        self.file = file
        self._in_memory = False
        self._room.give_back(used_bytes=0, memory_bytes=self._memory_bytes)
        self._memory_bytes = 0


NewSpool = Callable[[], Spool]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a body, or one entry of a zip: whose bytes are in the spool, which its receiver closes."""

    name: str
    spool: Spool
