"""A service that is killed wherever a test wants it: it runs behind proxies, in the place of the stack's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from radbus_cli.local.stack import LocalStack
from radbus_testing.nursery import Nursery
from radbus_testing.proxy import Proxy, proxied

from tests.chaos.moments import Moment, Server

REACHED_S = 90
_ANSWERED_S = 240
_AGAIN_S = 0.2
_NO_ANSWER = 500


@dataclass(frozen=True, slots=True)
class Victim:
    """The service with its lines to the servers."""

    program: Nursery
    lines: Mapping[Server, Proxy]

    async def die_at_each(self, moments: Sequence[Moment]) -> None:
        """Kill it at one moment after another, each time in the middle of what it does after its last start."""
        for moment in moments:
            await asyncio.to_thread(self.kill)
            struck = self.lines[moment.server].pause_when(*moment.passings)
            self.program.start()
            try:
                await asyncio.wait_for(asyncio.wrap_future(struck), REACHED_S)
            except TimeoutError:
                raise AssertionError(f"it did not come to the moment {moment.name} in {REACHED_S} s") from None
        await asyncio.to_thread(self.kill)
        self.program.start()

    def kill(self) -> None:
        """End it by SIGKILL; what its lines held back never arrives."""
        self.program.kill()
        for line in self.lines.values():
            line.reset()
            line.heal()


@contextmanager
def victim_of(
    stack: LocalStack, *names: str, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Victim]:
    """Stop a service of the stack (or all workers) and give one to be killed in its place, not yet started.

    At the end the stack's own is started again; whoever needs it waits for it.
    """
    service = names[0].partition("-")[0]
    with ExitStack() as opened:
        for name in names:
            stack.stop(name)
            opened.callback(stack.start, name)
        environment = {**stack.environment(), **(settings or {})}
        lines: dict[Server, Proxy] = {}
        for server in Server:
            lines[server], environment = opened.enter_context(proxied(environment, server.value))
        port, log = stack.layout.port(names[0]), folder / f"{names[0]}.log"
        yield Victim(opened.enter_context(Nursery(service, environment, port=port, log=log)), lines)


def until_answered(ask: Callable[[], httpx2.Response]) -> httpx2.Response:
    """Ask as often as it takes to be answered by the service itself."""
    deadline = time.monotonic() + _ANSWERED_S
    while (answer := ask()).status_code >= _NO_ANSWER:
        assert time.monotonic() < deadline, answer.text
        time.sleep(_AGAIN_S)
    return answer


async def dying(victim: Victim, at: tuple[Moment, ...], *asks: Callable[[], httpx2.Response]) -> list[int]:
    """Ask while the service dies at each of these moments; return what was answered at last."""

    def ask_all() -> list[int]:
        return [until_answered(ask).status_code for ask in asks]

    async with asyncio.TaskGroup() as group:
        answers = group.create_task(asyncio.to_thread(ask_all))
        group.create_task(victim.die_at_each(at))
    return answers.result()
