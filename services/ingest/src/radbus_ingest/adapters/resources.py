"""How much disk and memory there is: what the machine says, or the container that this process is in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")
_CGROUPS: Final = Path("/proc/self/cgroup")
_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system's size, and what of it is free for this user."""

    size_bytes: int
    free_bytes: int


def disk_under(folder: Path | None) -> Disk:
    """Ask how full the disk under a folder is, by default the one of temporary files.

    Raises:
        OSError: The folder is not there.
    """
    found = os.statvfs(folder or tempfile.gettempdir())
    return Disk(found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail)


def used_memory_bytes() -> int:
    """Ask how much memory this process has (its resident set)."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def memory_limit_bytes() -> int:
    """Return how much memory this process may have: its control group's limit, at most the machine's."""
    machine = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    return min([machine, *_limits_of_groups()])


def _limits_of_groups() -> Iterator[int]:
    own = [line.split(":", 2)[2].lstrip("/") for line in _read(_CGROUPS).splitlines() if line.count(":") >= 2]
    for path in {"", *own}:
        for file in ("memory.max", "memory/memory.limit_in_bytes"):  # of version 2 and version 1
            text = _read(_CGROUP_ROOT / path / file).strip()
            if text.isdecimal():
                yield int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:  # there are no control groups
        return ""
