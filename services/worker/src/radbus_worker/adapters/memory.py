"""How much memory a worker may use, by its container's limit or by the machine that it runs on."""

from __future__ import annotations

import os
from pathlib import Path

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # cgroup v2, v1


def usable_bytes(limits: tuple[Path, ...] = _LIMITS) -> int:
    """Return the lower of the container's limit and the machine's memory; a file that says no number is no limit."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(limit for path in limits if (limit := _read(path)))])


def _read(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isascii() and text.isdecimal() else 0
