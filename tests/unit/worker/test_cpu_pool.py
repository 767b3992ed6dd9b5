"""The process pool as the event loop sees it."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future

from radbus_worker.adapters.cpu_pool import CpuPool

DEADLINE_S = 5


class Starting:
    """An executor whose first call takes as long as its processes need to start."""

    def __init__(self) -> None:
        self.started = threading.Event()

    def submit(self, work) -> Future:
        assert self.started.wait(DEADLINE_S), "the event loop was held up"
        done: Future = Future()
        done.set_result(work())
        return done


async def test_the_event_loop_goes_on_while_the_processes_start():
    pool, executor = CpuPool(processes=1, limit_s=DEADLINE_S * 2), Starting()
    pool._pool = executor

    running = asyncio.create_task(pool.run(os.getpid))
    asyncio.get_running_loop().call_later(0.01, executor.started.set)

    assert await running == os.getpid()
