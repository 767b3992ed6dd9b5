"""A loop that no longer comes round, a message that is never done, a process that hangs: each is seen."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from prometheus_client import REGISTRY
from radbus_runtime.consuming import InWork
from radbus_runtime.health import look
from radbus_runtime.progress import Pulses, beat

HANGS = """
import asyncio, sys, threading, time
from radbus_runtime.hanging import end_within, watched
async def work():
    await asyncio.sleep(0)
    {work}
asyncio.run(watched(work(), hang_s=0.5, close_s={close_s}))
end_within(0.5, code=7)
"""


async def test_a_loop_that_does_not_come_round_in_time_is_named():
    now = 0.0
    pulses = Pulses(lambda: now)
    pulses.listen()

    async def loop() -> None:
        beat("sweep", within_s=10)
        beat("others", within_s=100)

    await asyncio.create_task(loop())
    assert await pulses.check() is None
    now = 11.0

    assert await pulses.check() == "no progress of sweep"
    await asyncio.create_task(loop())
    assert await pulses.check() is None


def test_a_message_that_is_in_work_for_too_long_is_told_by_its_queue():
    work = InWork()

    with work.one_of("router.series-completed"):
        assert work.stuck(limit_s=60) is None
        assert work.stuck(limit_s=0) == "a message of router.series-completed is in work for more than 0 s"

    assert work.stuck(limit_s=0) is None


async def test_the_metrics_show_what_a_check_has_found():
    async def well() -> str | None:
        return None

    async def ill() -> str | None:
        return "away"

    found = await look("test", {"well": well, "ill": ill})

    assert found == {"well": None, "ill": "away"}
    assert REGISTRY.get_sample_value("radbus_ready", {"service": "test", "check": "well"}) == 1
    assert REGISTRY.get_sample_value("radbus_ready", {"service": "test", "check": "ill"}) == 0


def test_a_process_whose_loop_stands_still_says_where_and_ends():
    program = HANGS.format(work="time.sleep(120)", close_s=60)

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert 'File "<string>"' in ended.stderr


def test_a_process_that_has_ended_its_work_is_not_kept_by_a_thread_that_hangs():
    started = time.monotonic()
    hung = "threading.Thread(target=time.sleep, args=(120,)).start()"

    ended = subprocess.run([sys.executable, "-c", HANGS.format(work=hung, close_s=60)], timeout=60, check=False)

    assert ended.returncode == 7
    assert time.monotonic() - started < 60


def test_a_process_that_has_ended_its_work_is_not_kept_by_a_thread_of_its_loop_either():
    started = time.monotonic()
    hung = "asyncio.get_running_loop().run_in_executor(None, time.sleep, 120)"

    ended = subprocess.run([sys.executable, "-c", HANGS.format(work=hung, close_s=0.5)], timeout=60, check=False)

    assert ended.returncode == 1
    assert time.monotonic() - started < 60
