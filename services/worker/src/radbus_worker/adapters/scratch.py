"""A task's private folder, which is gone when the task is; those of killed workers are removed at the next start."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_PREFIX = "radbus-task-"
_YOUNG_S = 2.0  # made, and not locked yet


@asynccontextmanager
async def private_folder(scratch_dir: Path) -> AsyncIterator[Path]:
    """Lend an empty folder that only this user can read: it will hold patient data."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=_PREFIX, dir=scratch_dir))
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)  # held until the worker ends, however it ends
        yield folder
    finally:
        try:
            await asyncio.to_thread(_remove, folder)
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    # A download that was abandoned goes on in its thread for a while: under the old name it can make no file any more.
    gone = folder.with_name(f"{folder.name}-gone")
    with suppress(FileNotFoundError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def remove_leftover_folders(scratch_dir: Path, *, younger_than_s: float = _YOUNG_S) -> int:
    """Remove the folders of workers that were killed, and return how many; younger ones are left alone."""
    removed = 0
    for folder in scratch_dir.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY)
        except OSError:  # gone meanwhile, or another user's
            continue
        try:
            if time.time() - os.fstat(lock).st_mtime >= younger_than_s:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
    return removed
