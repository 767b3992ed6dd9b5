"""A loop that comes round as seldom as its setting says is not one that makes no progress."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from radbus_ingest.handlers.completing import Completer
from radbus_ingest.handlers.erasing import RunEraser
from radbus_runtime.progress import Pulses
from radbus_runtime.retention.policy import RetentionPolicy
from radbus_runtime.retention.sweeping import RetentionSweep
from radbus_runtime.settings import load
from radbus_scheduler.handlers.dispatcher import Dispatcher, DispatchRules
from radbus_scheduler.handlers.gauges import Gauges
from radbus_scheduler.handlers.reaper import Reaper
from radbus_worker.domain.slots import Slots
from radbus_worker.handlers.heartbeat import Heartbeat

from tests.contract.test_routes import ENVIRONMENT, SERVICES

EVERY_S = 1000.0
NOT_PERIODIC = {
    "Courtesy",  # waits for what is to be told, which may be lost
    "Running",  # owns the tasks of others
    "CpuPool",  # once, at the start
    "_end_when_stuck",
    "_clear_leftovers",
}


class Asked:
    """Whatever a loop asks of its collaborators; `wait` never returns."""

    async def heartbeat(self, told: Any) -> None: ...

    async def due(self, **_: Any) -> list[Any]:
        return []

    async def counts(self) -> dict[Any, int]:
        return {}

    async def by_pool(self) -> dict[str, Any]:
        return {}

    async def now(self) -> datetime:
        return datetime.now(UTC)

    def __getitem__(self, _: str) -> Asked:
        return self

    async def wait(self, _: float) -> None:
        await asyncio.Event().wait()


def completeness() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Completer(asked, asked, asked, relay=asked, teller=asked, sweep_every_s=EVERY_S).run()


def dispatcher() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Dispatcher(*[asked] * 5, rules=DispatchRules(asked, 1, EVERY_S, EVERY_S), nudge=asked).run()


def heartbeat() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Heartbeat(asked, Slots(1), worker="worker-0", pool="cpu", every_s=EVERY_S).run()


def reaper() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Reaper(*[asked] * 6, limits=asked, backoff=asked).run(EVERY_S)


def gauges() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return Gauges(asked, asked, asked, pools=[]).run(EVERY_S)


def retention() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    policy = RetentionPolicy()
    return RetentionSweep(asked, asked, asked, policy=policy, every_s=EVERY_S, round_limit=1).run()


def runs() -> Coroutine[Any, Any, None]:
    asked: Any = Asked()
    return RunEraser(asked, asked, older_than_s=0, sweep_every_s=EVERY_S).run()


@pytest.mark.parametrize("loop", [completeness, dispatcher, gauges, heartbeat, reaper, retention, runs])
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


@pytest.mark.parametrize("name", SERVICES)
def test_each_loop_of_a_service_says_that_it_comes_round(name, monkeypatch):
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    kind, create_app = SERVICES[name]
    service = create_app(load(kind))
    service.documents.close()
    every = (service.bus.keep_declared, service._trail.run, service._keep_looking, *service.loops)

    silent = [whose(loop).__name__ for loop in every if "beat(" not in inspect.getsource(whose(loop))]

    assert set(silent) <= NOT_PERIODIC


def whose(loop: Callable[..., Any]) -> Any:
    """Return the class of a loop's object, or the function that it is."""
    called = loop.func if isinstance(loop, partial) else loop
    return type(called.__self__) if inspect.ismethod(called) else called
