"""The worker's processes for pixel work: bounded, replaced when one dies, and never older than the worker itself."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import ParamSpec, TypeVar

import structlog
from radbus_contracts.errors import PermanentError, TransientError

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_PRELOADED = ["radbus_worker.adapters.fork_server", "radbus_worker.adapters.pixel_work"]


class PoolBrokenError(TransientError):
    """A process of the pool was killed, most often for its memory, or did not end in time."""


class MemoryNeededError(PermanentError):
    """Pixel work wanted more memory than a process of the pool may have."""


class CpuPool:
    """A process pool that survives the death of its processes."""

    def __init__(self, *, processes: int, limit_s: float, memory_bytes: int | None = None) -> None:
        """Describe a pool; one call may take `limit_s`, its wait for a free process included.

        A process that wants more than `memory_bytes` of its own is refused it, before the machine runs out of it:
        shared memory does not count.
        """
        self.processes = processes
        self._memory_bytes = memory_bytes
        self._limit_s = limit_s
        # A server of its own forks them: cheap to replace, and nothing of this process's threads is copied.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._pool = self._fresh()

    async def warm(self) -> None:
        """Start the processes before the first series needs them."""
        await asyncio.gather(*(self.run(_pid) for _ in range(self.processes)), return_exceptions=True)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a module-level function in the pool.

        Raises:
            PoolBrokenError: The pool died or took too long; the next call finds a fresh one.
            MemoryNeededError: It wanted more memory than it may have.
        """
        pool = self._pool
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                # In a thread: the first call waits until the fork server has imported all that it preloads.
                submitted = await asyncio.to_thread(self._submitted, pool, partial(work, *args, **kwargs))
                return await asyncio.wrap_future(submitted)
        except MemoryError:
            text = f"expected pixel work that a process with {self._memory_bytes} bytes of memory can do"
            raise MemoryNeededError(text) from None
        except BrokenProcessPool as error:
            self._replace(pool)
            raise PoolBrokenError("a process that decodes or draws was killed") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise PoolBrokenError("the processes that decode and draw were replaced") from None
        except TimeoutError:
            if not limit.expired():
                raise
            self._replace(pool)
            raise PoolBrokenError(f"decoding or drawing took longer than {self._limit_s:.0f} s") from None

    async def close(self) -> None:
        """End the processes."""
        self._end(self._pool)

    @staticmethod
    def _submitted(pool: ProcessPoolExecutor, work: Callable[[], T]) -> Future[T]:
        try:
            return pool.submit(work)
        except BrokenProcessPool:
            raise
        except RuntimeError:  # it was shut down since
            raise PoolBrokenError("the processes that decode and draw were replaced") from None

    def _fresh(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.processes, mp_context=self._context, initializer=_begin, initargs=(self._memory_bytes,)
        )

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        if self._pool is broken:
            log.warning("pool.replaced", processes=self.processes)
            self._pool = self._fresh()
            self._end(broken)

    @staticmethod
    def _end(pool: ProcessPoolExecutor) -> None:
        # One that hangs would not see the polite end; its work is lost or unwanted either way.
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way before Python 3.14
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)


def _pid() -> int:
    return os.getpid()


def _begin(memory_bytes: int | None) -> None:
    """Prepare a child: the worker alone answers signals, and a child whose worker is gone ends."""
    if memory_bytes is not None:
        # Of data, not of addresses: what others share is not the child's own.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_worker, daemon=True).start()


def _end_with_the_worker() -> None:
    worker = multiprocessing.parent_process()
    if worker is not None:
        multiprocessing.connection.wait([worker.sentinel])
        os._exit(1)
