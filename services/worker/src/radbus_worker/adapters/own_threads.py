"""A machine's code in a thread and an event loop of its own: one that hangs stops nothing but itself."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog
from radbus_contracts.errors import TransientError
from radbus_machines.protocol import Array, Machine, Model, OutputShapes, Progress
from radbus_machines.types import MachineOutput, Volume

from radbus_worker.adapters.machines import CodedMachine

log = structlog.get_logger(__name__)

_END_S = 3.0


class MachineStuckError(TransientError):
    """A machine's code does not end when it is told to: its thread can only end with the process."""


class MachineEndedItselfError(TransientError):
    """A machine's code has ended as no answer ends: by `sys.exit`, say."""


class MachineThreads:
    """Runs machines; a thread that cannot be stopped is a reason for the whole worker to begin anew."""

    def __init__(self) -> None:
        self._stuck = asyncio.Event()
        self._machine = ""

    async def infer(self, station: CodedMachine, volume: Volume, progress: Progress) -> MachineOutput:
        """Judge a volume; when this is cancelled the machine is, and has a moment to end."""
        call = _Call(station.machine, volume, _RemoteModel(station.model, asyncio.get_running_loop()), progress)
        context = contextvars.copy_context()
        name = station.manifest.name
        threading.Thread(target=context.run, args=(call.run,), name=f"machine-{name}", daemon=True).start()
        try:
            return await asyncio.shield(call.answer)
        except asyncio.CancelledError:
            call.cancel()
            await asyncio.wait((call.ended,), timeout=_END_S)
            if not call.ended.done():
                log.critical("machine.stuck", machine=name)
                self._machine = name
                self._stuck.set()
            raise

    async def stuck(self) -> None:
        """Wait until a machine hangs."""
        await self._stuck.wait()

    async def refuse_a_clean_end(self) -> None:
        """Let the process end as one that failed, so that whoever watches it starts it again.

        Raises:
            MachineStuckError: A machine hangs.
        """
        if self._stuck.is_set():
            raise MachineStuckError(f"machine {self._machine} does not end: the worker begins anew")

    async def check(self) -> str | None:
        """Return which machine hangs, or None."""
        return f"machine {self._machine} does not end" if self._stuck.is_set() else None


@dataclass(frozen=True, slots=True)
class _RemoteModel:
    """The model as a machine calls it from its own loop; the connection to Triton belongs to the worker's."""

    model: Model
    home: asyncio.AbstractEventLoop

    async def infer(self, inputs: Mapping[str, Array], output_shapes: OutputShapes) -> Mapping[str, Array]:
        asked = asyncio.run_coroutine_threadsafe(self._ask(inputs, output_shapes), self.home)
        return await asyncio.wrap_future(asked)

    async def _ask(self, inputs: Mapping[str, Array], output_shapes: OutputShapes) -> Mapping[str, Array]:
        return await self.model.infer(inputs, output_shapes)


class _Call:
    """One inference: what its thread does, and how the worker's loop hears of it."""

    def __init__(self, machine: Machine, volume: Volume, model: Model, progress: Progress) -> None:
        self._home = asyncio.get_running_loop()
        self._asked = (machine, volume, model, progress)
        self._inner: tuple[asyncio.AbstractEventLoop, asyncio.Task[MachineOutput]] | None = None
        self._cancelled = False
        self.answer: asyncio.Future[MachineOutput] = self._home.create_future()
        self.answer.add_done_callback(_seen)  # nobody waits any more for the answer of one that was cancelled
        self.ended: asyncio.Future[None] = self._home.create_future()

    def run(self) -> None:
        """Run the machine in this thread, and tell the worker's loop what came of it, and that it has ended."""
        try:
            output = asyncio.run(self._infer())
        except Exception as error:  # noqa: BLE001 - it is told where the attempt is judged
            self._tell(self._fail, error)
        except BaseException as error:  # noqa: BLE001 - it must end neither the thread unheard nor the worker
            self._tell(self._fail, MachineEndedItselfError(f"the machine's code ended with {type(error).__name__}"))
        else:
            self._tell(self._give, output)
        self._tell(self._end)

    def cancel(self) -> None:
        """Ask the machine to end."""
        self._cancelled = True
        if self._inner is not None:
            loop, task = self._inner
            with suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(task.cancel)

    async def _infer(self) -> MachineOutput:
        machine, volume, model, progress = self._asked
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._inner = (asyncio.get_running_loop(), task)
        if self._cancelled:
            raise asyncio.CancelledError
        return await machine.infer(volume, model, progress)

    def _tell(self, tell: object, *what: object) -> None:
        with suppress(RuntimeError):  # the worker has ended meanwhile
            self._home.call_soon_threadsafe(tell, *what)  # type: ignore[arg-type]

    def _give(self, output: MachineOutput) -> None:
        if not self.answer.done():
            self.answer.set_result(output)

    def _fail(self, error: Exception) -> None:
        if self.answer.done():
            return
        if isinstance(error, StopIteration):  # no future takes this one
            error = MachineEndedItselfError("the machine's code ended with StopIteration")
        self.answer.set_exception(error)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def _seen(answer: asyncio.Future[MachineOutput]) -> None:
    if not answer.cancelled():
        answer.exception()
