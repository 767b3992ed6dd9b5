"""A loop that comes round as seldom as its setting says is not one that makes no progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from radbus_ingest.handlers.completing import Completer
from radbus_runtime.progress import Pulses
from radbus_scheduler.handlers.dispatcher import Dispatcher, DispatchRules
from radbus_scheduler.handlers.reaper import Reaper
from radbus_worker.domain.slots import Slots
from radbus_worker.handlers.heartbeat import Heartbeat

EVERY_S = 1000.0


class Asked:
    """Whatever a loop asks of its collaborators; `wait` never returns."""

    async def heartbeat(self, told: Any) -> None: ...

    async def due(self, **_: Any) -> list[Any]:
        return []

    async def wait(self, _: float) -> None:
        await asyncio.Event().wait()


def completeness() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Completer(asked, asked, asked, relay=asked, teller=asked, sweep_every_s=EVERY_S).run()


def dispatcher() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Dispatcher(*[asked] * 5, rules=DispatchRules(asked, 1, EVERY_S), nudge=asked).run()


def heartbeat() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Heartbeat(asked, Slots(1), worker="worker-0", pool="cpu", every_s=EVERY_S).run()


def reaper() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Reaper(*[asked] * 6, limits=asked, backoff=asked).run(EVERY_S)


@pytest.mark.parametrize("loop", [completeness, dispatcher, heartbeat, reaper])
async def test_a_loop_is_late_only_well_after_the_interval_that_is_set_for_it(
    loop: Callable[[], Coroutine[Any, Any, None]],
):
    now = 0.0
    pulses = Pulses(lambda: now)
    pulses.listen()

    running = asyncio.create_task(loop())
    for _ in range(10):
        await asyncio.sleep(0)
    now = EVERY_S + 60
    in_time = await pulses.check()
    now = 3 * EVERY_S
    late = await pulses.check()
    running.cancel()
    await asyncio.wait([running])

    assert in_time is None
    assert late == f"no progress of {loop.__name__}"
