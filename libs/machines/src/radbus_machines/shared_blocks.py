"""Blocks of system shared memory: voxels that several processes of one host, Triton among them, see without copies."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from radbus_contracts.errors import TransientError

D = TypeVar("D", bound=np.generic)

# Where glibc's shm_open keeps its objects: a block named `x` here is `/x` there.
_FOLDER = Path("/dev/shm")  # noqa: S108 - not a temporary file
_PREFIX = "radbus-block-"
_YOUNG_S = 2.0  # made, and not locked yet


class SharedMemoryFullError(TransientError):
    """There is no room for a block of shared memory."""


class SharedBlock:
    """One block, made and removed by its owner; others attach to it by name while it is there."""

    def __init__(self, size_bytes: int) -> None:
        """Make a block of at least one byte.

        Raises:
            SharedMemoryFullError: It does not fit.
        """
        self.name = f"{_PREFIX}{uuid4().hex}"
        self.size_bytes = max(1, size_bytes)
        self._file = os.open(_FOLDER / self.name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Held until the owner ends, however it ends: what is not locked was left behind.
            fcntl.flock(self._file, fcntl.LOCK_SH)
            # Reserved now: a page that cannot be had later would kill the process that writes to it.
            os.posix_fallocate(self._file, 0, self.size_bytes)
            self._memory = mmap.mmap(self._file, self.size_bytes)
        except OSError as error:
            self.remove()
            if error.errno not in {errno.ENOSPC, errno.ENOMEM}:
                raise
            raise SharedMemoryFullError(f"expected room for {size_bytes} bytes in {_FOLDER}") from error

    def array(self, shape: Sequence[int], dtype: np.dtype[D], *, offset_bytes: int = 0) -> NDArray[D]:
        """Return a part of the block as an array; the memory lives as long as any such array."""
        return np.ndarray(tuple(shape), dtype, buffer=self._memory, offset=offset_bytes)

    def remove(self) -> None:
        """Take the block's name away; the memory goes when the last array and the last attached process are gone."""
        if self._file >= 0:
            (_FOLDER / self.name).unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


async def make_block(size_bytes: int) -> SharedBlock:
    """Make a block in a thread, since reserving its pages takes a while; its caller removes it.

    One whose caller is cancelled meanwhile is removed as soon as it is made: nobody else knows its name.

    Raises:
        SharedMemoryFullError: It does not fit.
    """
    making = asyncio.get_running_loop().run_in_executor(None, SharedBlock, size_bytes)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_remove_made)
        raise


def _remove_made(making: asyncio.Future[SharedBlock]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().remove()


def attach(name: str, shape: Sequence[int], dtype: np.dtype[D]) -> NDArray[D]:
    """Return the start of another process's block as an array."""
    file = os.open(_FOLDER / name, os.O_RDWR)
    try:
        return np.ndarray(tuple(shape), dtype, buffer=mmap.mmap(file, 0))
    finally:
        os.close(file)


def is_leftover(name: str) -> bool:
    """Say whether this was the name of a block that is gone."""
    return name.startswith(_PREFIX) and not (_FOLDER / name).exists()


def remove_leftovers(*, younger_than_s: float = _YOUNG_S) -> int:
    """Remove the blocks whose owners were killed; return how many. Blocks younger than that are left alone."""
    removed = 0
    for path in _FOLDER.glob(f"{_PREFIX}*"):
        try:
            file = os.open(path, os.O_RDWR)
        except OSError:  # gone meanwhile, or another user's
            continue
        try:
            if time.time() - os.fstat(file).st_mtime >= younger_than_s:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
                removed += 1
        except BlockingIOError:
            continue
        finally:
            os.close(file)
    return removed
