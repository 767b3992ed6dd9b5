"""The faults of servers: what each does, and that it is gone afterwards."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import pytest
from radbus_storage.errors import StoreUnavailableError
from radbus_storage.objects import ObjectStore
from radbus_testing.clock import Clock, library
from radbus_testing.disk import can_mount, small_disk
from radbus_testing.programs import settings_of
from radbus_testing.store_proxy import StoreProxy

MIB = 1024 * 1024
TELLS_TIME = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


@pytest.fixture
def needs_root() -> None:
    if not can_mount():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a disk of its own needs root to be mounted")


@pytest.fixture
def needs_faketime() -> None:
    if library() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("libfaketime is not installed: run `make install`")


@pytest.mark.stack
async def test_a_store_that_refuses_some_objects_takes_the_others_with_their_signatures(stack, institution):
    environment = stack.environment()
    host, _, port = environment["RADBUS_S3_URL"].removeprefix("http://").partition(":")
    with StoreProxy(host, int(port)) as proxy:
        through = {**environment, "RADBUS_S3_URL": f"http://127.0.0.1:{proxy.port}"}
        store, keys = ObjectStore(settings_of(through).objects), [f"{institution}/{name}" for name in "abc"]

        proxy.refuse("PUT", institution, which=range(1, 2))
        await store.put(keys[0], b"0", size_bytes=1)
        with pytest.raises(StoreUnavailableError):
            await store.put(keys[1], b"1", size_bytes=1)
        await store.put(keys[2], b"2", size_bytes=1)
        refusals = proxy.refusals
        proxy.heal()
        await store.put(keys[1], b"1", size_bytes=1)

        assert refusals > 1  # the client tried again
        assert [await store.get(key) for key in keys] == [b"0", b"1", b"2"]
        store.close()


def test_a_full_disk_takes_nothing_until_it_is_freed_and_is_gone_afterwards(tmp_path, needs_root):
    (tmp_path / "kept").write_text("there before")

    with small_disk(tmp_path, size_bytes=MIB) as disk:
        disk.fill()
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (tmp_path / "more").write_bytes(bytes(10))
        disk.free()
        (tmp_path / "more").write_bytes(bytes(10))

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_clock_that_jumps_does_so_for_its_program_alone_and_leaves_the_monotonic_one(tmp_path, needs_faketime):
    clock = Clock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", TELLS_TIME],
        env={**os.environ, **clock.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:

        def told() -> tuple[float, float]:
            program.stdin.write("\n")
            program.stdin.flush()
            wall, monotonic = map(float, program.stdout.readline().split())
            return wall - time.time(), monotonic - time.monotonic()

        told_before = told()
        clock.jump(3600)
        told_ahead = told()
        clock.jump(0)
        told_after = told()
        program.stdin.close()

    assert [round(wall / 600) for wall, _ in (told_before, told_ahead, told_after)] == [0, 6, 0]
    assert [round(monotonic / 600) for _, monotonic in (told_before, told_ahead, told_after)] == [0, 0, 0]
