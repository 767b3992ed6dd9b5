"""Volumes in shared memory, given back also by an attempt that is stopped meanwhile, and what is drawn of them."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from radbus_machines.shared_blocks import SharedBlock, is_leftover
from radbus_machines.types import Code, LabelMap, MachineOutput, Segment
from radbus_testing.phantom import chest_phantom
from radbus_testing.phantom_dicom import phantom_instances
from radbus_testing.waiting import until
from radbus_worker.adapters.rendering import series_kinds
from radbus_worker.adapters.volumes import VolumeLoader

DEADLINE_S = 10
CODE = Code("39607008", "SCT", "Lung")


class Inline:
    """A process pool of no processes."""

    processes = 1

    async def run(self, work, *args):
        return work(*args)


class Held(ThreadPoolExecutor):
    """Threads whose blocks are made at once, and handed over when the test says so."""

    def __init__(self) -> None:
        super().__init__(1)
        self.made: list[tuple[SharedBlock, Future]] = []

    def submit(self, work, *args):
        future = Future()
        future.set_running_or_notify_cancel()
        result = work(*args)
        if isinstance(result, SharedBlock):
            self.made.append((result, future))
        else:
            future.set_result(result)
        return future


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    found = []
    for number, content in enumerate(phantom_instances(chest_phantom(slices=3, rows=64))):
        found.append(tmp_path / f"{number}.dcm")
        found[-1].write_bytes(content)
    return found


async def test_a_load_that_is_cancelled_while_its_memory_is_reserved_leaves_none_behind(paths):
    threads = Held()
    asyncio.get_running_loop().set_default_executor(threads)

    async def load() -> None:
        async with VolumeLoader(Inline()).loaded(paths, attributes_of=lambda header: {}):
            raise AssertionError("it was cancelled")

    loading = asyncio.create_task(load())
    block, future = await until(lambda: first(threads.made), timeout_s=DEADLINE_S, what="block")
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    future.set_result(block)

    await until(lambda: gone(block), timeout_s=DEADLINE_S, what="removal of the block")


async def test_structures_are_drawn_where_segments_lie_in_the_patient(paths):
    segment = Segment(1, "Lung", CODE, CODE, (0, 0, 0))
    async with VolumeLoader(Inline()).loaded(paths, attributes_of=lambda header: {}) as loaded:
        labels = np.zeros(loaded.plan.shape, np.uint8)
        radiograph = replace(loaded, plan=replace(loaded.plan, modality="DX"))

        drawn = MachineOutput("", label_maps=(LabelMap("lungs", labels, (segment,)),))

        assert "rtstruct" in series_kinds(loaded, drawn)
        assert "rtstruct" not in series_kinds(radiograph, drawn)
        assert "rtstruct" not in series_kinds(loaded, MachineOutput(""))


async def first(made: list[tuple[SharedBlock, Future]]) -> tuple[SharedBlock, Future] | None:
    return made[0] if made else None


async def gone(block: SharedBlock) -> bool | None:
    return is_leftover(block.name) or None
