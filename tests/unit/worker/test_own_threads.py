"""A machine in a thread of its own: what it does stays there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from radbus_machines.manifest import MachineManifest
from radbus_machines.types import Geometry, MachineOutput, Volume
from radbus_worker.adapters.machines import CodedMachine
from radbus_worker.adapters.own_threads import MachineEndedItselfError, MachineStuckError, MachineThreads

MANIFEST = MachineManifest(name="m", version="1", title="M", runner="python")
VOLUME = Volume(np.zeros((1, 1, 1), np.int16), Geometry((1, 1, 1), (0, 0, 0), np.eye(3)), (), "CT")
DEADLINE_S = 10


class Doing:
    """A machine that does what it is given."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    async def infer(self, volume, model, progress):
        return await self._work(model)


class Model:
    """A model that says in which thread it was asked."""

    async def infer(self, inputs, output_shapes):
        return {"thread": threading.get_ident()}


def run(threads: MachineThreads, work: Callable[[Any], Any]) -> Any:
    return threads.infer(CodedMachine(MANIFEST, Doing(work), Model()), VOLUME, lambda fraction: None)


async def test_a_machine_answers_from_its_own_thread_and_calls_its_model_in_the_workers():
    async def work(model):
        asked = await model.infer({}, {})
        return MachineOutput(f"{asked['thread']} {threading.get_ident()}")

    asked, own = (await run(MachineThreads(), work)).summary.split()

    assert int(asked) == threading.get_ident()
    assert int(own) != threading.get_ident()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_a_machine_that_ends_itself_ends_nothing_else(error):
    async def work(model):
        raise error

    with pytest.raises(MachineEndedItselfError, match=type(error).__name__):
        await run(MachineThreads(), work)


async def test_what_a_machine_raises_is_raised_where_it_was_asked():
    async def work(model):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(MachineThreads(), work)


async def test_a_machine_that_waits_too_long_is_cancelled_and_its_worker_goes_on():
    threads, cancelled = MachineThreads(), threading.Event()

    async def work(model):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(threads, work), 0.1)

    assert cancelled.wait(DEADLINE_S)
    assert await threads.check() is None
    await threads.refuse_a_clean_end()


async def test_a_machine_that_cannot_be_stopped_stops_no_other_and_ends_its_worker():
    threads, released = MachineThreads(), threading.Event()

    async def work(model):
        released.wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(threads, work), 0.1)
    await asyncio.wait_for(threads.stuck(), DEADLINE_S)
    released.set()

    assert await threads.check() == "machine m does not end"
    with pytest.raises(MachineStuckError):
        await threads.refuse_a_clean_end()
