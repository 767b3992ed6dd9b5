"""What a worker may use of its container's or machine's memory, and what a volume or a process may have of that."""

from __future__ import annotations

import subprocess
import sys

import pytest
from radbus_worker.adapters.memory import usable_bytes
from radbus_worker.settings import WorkerSettings

GIB = 1024**3
URLS = {"amqp_url": "amqp://x", "mongo_url": "mongodb://x", "s3_url": "http://x", "triton_url": "x:1"}
REQUIRED = {**URLS, "s3_access_key": "x", "s3_secret_key": "x", "machines_dir": "/x"}


@pytest.mark.parametrize(("said", "expected"), [("1048576\n", 1048576), ("max\n", None), ("", None)])
def test_a_containers_limit_counts_where_there_is_one(tmp_path, said, expected):
    (tmp_path / "memory.max").write_text(said)

    found = usable_bytes((tmp_path / "memory.max", tmp_path / "nothing"))

    assert found == expected or (expected is None and found > GIB)


@pytest.mark.parametrize(("memory", "slots", "expected"), [(8, 1, 2), (8, 4, 0.5), (64, 1, 4)])
def test_a_volume_may_have_a_quarter_of_its_slots_share_of_the_memory(memory, slots, expected):
    settings = WorkerSettings(**REQUIRED, memory_bytes=memory * GIB, slots=slots)

    assert settings.volume_limit_bytes == expected * GIB


POOL = """
import asyncio
import numpy as np
from radbus_worker.adapters.cpu_pool import CpuPool, MemoryNeededError

async def main():
    pool = CpuPool(processes=1, limit_s=60, memory_bytes=1024**3)
    try:
        await pool.run(np.ones, 2 * 1024**3, np.uint8)
    except MemoryNeededError as error:
        print(error)
    print((await pool.run(np.ones, 3, np.uint8)).tolist())
    await pool.close()

asyncio.run(main())
"""


def test_a_process_that_wants_more_memory_than_it_may_have_is_refused_it_and_lives():
    # As a program: the pool's processes import the main module again, which pytest's is not made for.
    told = subprocess.run([sys.executable, "-c", POOL], check=True, capture_output=True, text=True, timeout=120)

    assert told.stdout.splitlines() == [
        "expected pixel work that a process with 1073741824 bytes of memory can do",
        "[1, 1, 1]",
    ]
