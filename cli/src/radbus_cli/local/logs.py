"""Read a program's log as it lies on the disk, across its rotation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

_POLL_S = 0.2


def read(file: Path, *, lines: int, follow: bool) -> Iterator[str]:
    """Give the last lines of a log and, when following, every new one until the reader stops."""
    if not file.exists() and not follow:
        return
    position = 0
    if file.exists():
        with file.open(errors="replace") as log:
            yield from (line.rstrip("\n") for line in deque(log, maxlen=lines))
            position = log.tell()
    while follow:
        time.sleep(_POLL_S)
        if not file.exists():
            continue
        if file.stat().st_size < position:
            position = 0  # rotated: the file begins anew
        with file.open(errors="replace") as log:
            log.seek(position)
            while (line := log.readline()).endswith("\n"):
                yield line.rstrip("\n")
                position = log.tell()
