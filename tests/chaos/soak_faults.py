"""Doing a soak's faults, one after another, to services behind proxies and to the stack's servers."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from radbus_cli.local.stack import LocalStack
from radbus_testing.waiting import eventually

from tests.chaos.soak_plan import SERVERS, SERVICES, Fault, Hurt
from tests.chaos.victims import Victim, victim_of

_BACK_S = 120
_DELAY_S = 0.3
_ENDED_S = 60
_WATCH_S = 0.5
_SETTINGS = {"RADBUS_DRAIN_S": "10"}


@dataclass(slots=True)
class Faults:
    """Hurts, heals, and starts again what ended by itself, as a supervisor does."""

    stack: LocalStack
    victims: Mapping[str, Victim]
    done: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    _down: set[str] = field(default_factory=set)
    _began: float = field(default_factory=time.monotonic)

    async def run(self, faults: Sequence[Fault], *, seconds: float) -> None:
        """Do the faults in their order until the time is over; what is hurt then is healed."""
        for fault in faults:
            if time.monotonic() - self._began + fault.after_s > seconds:
                break
            await asyncio.sleep(fault.after_s)
            await self._do(fault)
        await asyncio.to_thread(self._all_back)

    async def watch(self) -> None:
        """Start what has ended by itself, until cancelled."""
        while True:
            await asyncio.sleep(_WATCH_S)
            for name, victim in self.victims.items():
                if name not in self._down and not victim.program.is_running:
                    self.ended.append(f"+{time.monotonic() - self._began:.1f} s {name}")
                    victim.program.start()

    async def _do(self, fault: Fault) -> None:
        began = time.monotonic()
        if fault.line is not None:
            await self._to_line(fault)
        elif fault.target in self.victims:
            await self._to_service(fault)
        else:
            await self._to_server(fault)
        self.done.append(f"+{began - self._began:.1f} s {fault} (took {time.monotonic() - began:.1f} s)")

    async def _to_service(self, fault: Fault) -> None:
        victim = self.victims[fault.target]
        self._down.add(fault.target)
        match fault.hurt:
            case Hurt.FREEZE:
                victim.program.send(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
                victim.program.send(signal.SIGCONT)
            case Hurt.STOP:
                victim.program.send(signal.SIGTERM)
                await asyncio.to_thread(
                    eventually, lambda: not victim.program.is_running, timeout_s=_ENDED_S, what=f"end of {fault.target}"
                )
                await asyncio.sleep(fault.seconds)
                victim.program.start()
            case _:
                await asyncio.to_thread(victim.kill)
                await asyncio.sleep(fault.seconds)
                victim.program.start()
        self._down.discard(fault.target)

    async def _to_server(self, fault: Fault) -> None:
        number = signal.SIGKILL if fault.hurt is Hurt.KILL else signal.SIGSTOP
        await asyncio.to_thread(self.stack.kill, fault.target, number)
        await asyncio.sleep(fault.seconds)
        if fault.hurt is Hurt.KILL:
            await asyncio.to_thread(self.stack.start, fault.target)
            await asyncio.to_thread(self.stack.wait_until_ready, fault.target, timeout_s=_BACK_S)
        else:
            await asyncio.to_thread(self.stack.kill, fault.target, signal.SIGCONT)

    async def _to_line(self, fault: Fault) -> None:
        assert fault.line is not None
        line = self.victims[fault.target].lines[fault.line]
        match fault.hurt:
            case Hurt.CUT:
                line.cut()
            case Hurt.RESET:
                line.reset()
            case Hurt.PAUSE:
                line.pause()
            case Hurt.DELAY:
                line.delay(_DELAY_S)
            case Hurt.KILL | Hurt.FREEZE | Hurt.STOP:
                raise ValueError(f"{fault.hurt} is not done to a line")
            case _:
                assert_never(fault.hurt)
        await asyncio.sleep(fault.seconds)
        line.heal()

    def _all_back(self) -> None:
        self.stack.wait_until_ready(*SERVERS, timeout_s=_BACK_S)
        for victim in self.victims.values():
            victim.program.wait_until_ready(timeout_s=_BACK_S)


@contextmanager
def victims_of(stack: LocalStack, folder: Path) -> Iterator[Mapping[str, Victim]]:
    """Give every service to be hurt, in the place of the stack's own; of several replicas, the others go on."""
    with ExitStack() as opened:
        victims = {
            name: opened.enter_context(victim_of(stack, stack.replicas_of(name)[0], folder=folder, settings=_SETTINGS))
            for name in SERVICES
        }
        for victim in victims.values():
            victim.program.start()
        for victim in victims.values():
            victim.program.wait_until_ready(timeout_s=_BACK_S)
        yield victims
    stack.wait_until_ready(timeout_s=_BACK_S)
