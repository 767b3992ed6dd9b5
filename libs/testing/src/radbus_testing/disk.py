"""A disk that is full: a small one of its own under a folder. Mounting it needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A disk that holds a few MiB, and what fills it."""

    folder: Path

    def fill(self) -> None:
        """Take all the room that is left; again, what has come free since."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (_BLOCK_BYTES, 1):
                _write_until_full(ballast.fileno(), size)

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


def can_mount() -> bool:
    """Tell whether this user may mount a disk."""
    return os.geteuid() == 0


@contextmanager
def small_disk(folder: Path, *, size_bytes: int) -> Iterator[SmallDisk]:
    """Give a folder a disk of its own for a time; what was in the folder is there again afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0755", "radbus-test", str(folder)],
        check=True,
        timeout=10,
    )
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: whoever still has a file open there keeps that file, not the mount.
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def _write_until_full(descriptor: int, size: int) -> None:
    try:
        while os.write(descriptor, bytes(size)):
            pass
    except OSError:
        return
