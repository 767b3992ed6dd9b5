"""Run programs under supervisord, and speak with it over a unix socket that only this user may open."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import cast

from supervisor.xmlrpc import Faults, SupervisorTransport

from radbus_cli.local.errors import StackError
from radbus_cli.local.layout import Layout
from radbus_cli.local.leftovers import MARK
from radbus_cli.local.programs import Program
from radbus_cli.local.supervisor_configuration import configuration_file, write_configuration

_ANSWER_DEADLINE_S = 15.0
# Not EXITED: from there the supervisor starts it again.
_STOPPED = ("STOPPED", "FATAL", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class ProgramState:
    """What the supervisor says of one program; the process id is 0 when it does not run."""

    name: str
    state: str
    process_id: int
    uptime_s: int

    @property
    def is_stopped(self) -> bool:
        """Tell whether the supervisor neither runs the program nor is about to."""
        return self.state in _STOPPED


class Supervisor:
    """The supervisord of one stack."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @property
    def _rpc(self) -> xmlrpc.client._Method:
        # A new connection each time: the transport does not recover from one that failed.
        transport = SupervisorTransport(None, None, f"unix://{self._layout.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def is_running(self) -> bool:
        """Tell whether it answers."""
        try:
            self._rpc.getState()
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False
        return True

    def launch(self, programs: Iterable[Program]) -> None:
        """Start supervisord in the background with these programs, none of them started yet."""
        write_configuration(self._layout, programs)
        self._layout.socket.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration_file(self._layout))],
            env={**os.environ, MARK: str(self._layout.root)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_DEADLINE_S,
            check=False,
        )
        deadline = time.monotonic() + _ANSWER_DEADLINE_S
        while not self.is_running():
            if done.returncode != 0 or time.monotonic() > deadline:
                log = self._layout.log("supervisord")
                raise StackError(f"supervisord did not start; see {log}. {done.stderr.strip()}")
            time.sleep(0.05)

    def adopt(self, programs: Iterable[Program]) -> None:
        """Take a changed list of programs: the new are added, the gone and the changed are stopped first."""
        write_configuration(self._layout, programs)
        added, changed, removed = cast("list[list[list[str]]]", self._rpc.reloadConfig())[0]
        self.stop([*changed, *removed])
        for name in (*changed, *removed):
            self._rpc.removeProcessGroup(name)
        for name in (*changed, *added):
            self._rpc.addProcessGroup(name)

    def states(self) -> dict[str, ProgramState]:
        """Give the state of every program by its name."""
        answer = cast("list[dict[str, str | int]]", self._rpc.getAllProcessInfo())
        return {
            str(info["name"]): ProgramState(
                name=str(info["name"]),
                state=str(info["statename"]),
                process_id=int(info["pid"]),
                uptime_s=int(info["now"]) - int(info["start"]) if info["pid"] else 0,
            )
            for info in answer
        }

    def start(self, name: str) -> None:
        """Start a program without waiting for it; one that runs goes on."""
        try:
            self._rpc.startProcess(name, False)  # noqa: FBT003 -- the protocol has no names
        except xmlrpc.client.Fault as fault:
            match fault.faultCode:
                case Faults.ALREADY_STARTED:
                    return
                case Faults.BAD_NAME:
                    raise StackError(f"The stack has no program {name!r}.") from fault
                case _:
                    raise StackError(f"{name} could not be started: {fault.faultString}") from fault

    def ask_to_stop(self, name: str) -> None:
        """Tell a program to stop, without waiting, and not to start it again."""
        try:
            self._rpc.stopProcess(name, False)  # noqa: FBT003 -- the protocol has no names
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == Faults.BAD_NAME:
                raise StackError(f"The stack has no program {name!r}.") from fault
            if fault.faultCode not in (Faults.NOT_RUNNING, Faults.FAILED):
                raise StackError(f"{name} could not be stopped: {fault.faultString}") from fault

    def stop(self, names: Sequence[str], *, timeout_s: float = 60.0) -> None:
        """Stop programs together and wait until all have ended; supervisord kills those that take too long."""
        deadline = time.monotonic() + timeout_s
        while running := [state for state in self._states_of(names) if not state.is_stopped]:
            if time.monotonic() > deadline:
                raise StackError(f"{', '.join(each.name for each in running)} did not stop within {timeout_s:.0f} s.")
            for each in running:
                if each.state != "STOPPING":
                    self.ask_to_stop(each.name)
            time.sleep(0.05)

    def shut_down(self) -> None:
        """End supervisord itself; its programs should have been stopped before."""
        try:
            self._rpc.shutdown()
        except (OSError, HTTPException, xmlrpc.client.Error):
            return

    def _states_of(self, names: Sequence[str]) -> list[ProgramState]:
        states = self.states()
        if unknown := [name for name in names if name not in states]:
            raise StackError(f"The stack has no program {unknown[0]!r}.")
        return [states[name] for name in names]
