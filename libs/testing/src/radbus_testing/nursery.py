"""A process that has imported a service and starts it by forking, so that a test may kill it often."""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from radbus_testing.programs import answers
from radbus_testing.waiting import eventually

_END_S = 30.0
_POLL_S = 0.02


class Nursery:
    """Starts one service, as a process group of its own, as often as it is killed; its log goes on."""

    def __init__(self, name: str, environment: Mapping[str, str], *, port: int, log: Path) -> None:
        """Describe `radbus_<name>`; nothing runs yet."""
        own = {"RADBUS_HTTP_PORT": str(port), "RADBUS_TRACES": "off"}
        self.url = f"http://127.0.0.1:{port}"
        self._module = f"radbus_{name}"
        self._environment = {**os.environ, **environment, **own}
        self._log = log
        self._mother: subprocess.Popen[str] | None = None
        self._child = 0

    def __enter__(self) -> Self:
        with self._log.open("ab") as out:
            self._mother = subprocess.Popen(
                [sys.executable, "-m", __name__, self._module],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        if self._mother is not None:
            self._mother.communicate(timeout=_END_S)

    def start(self) -> None:
        """Start it, without waiting for its readiness."""
        if self._mother is None or self._mother.stdin is None or self._mother.stdout is None:
            raise RuntimeError("a nursery is entered first")
        print(file=self._mother.stdin, flush=True)  # one line is one child
        self._child = int(self._mother.stdout.readline())

    def wait_until_ready(self, *, timeout_s: float) -> None:
        """Wait until it answers that it is ready."""
        eventually(lambda: answers(f"{self.url}/readyz"), timeout_s=timeout_s, what=f"ready {self._module}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and its children; nothing happens when it does not run."""
        with suppress(ProcessLookupError):
            if self._child:
                os.killpg(self._child, number)

    @property
    def is_running(self) -> bool:
        """Say whether it has been started and has not ended since; its mother buries it."""
        if not self._child:
            return False
        try:
            os.kill(self._child, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """End it and its children by SIGKILL; nothing happens when it does not run."""
        self.send(signal.SIGKILL)
        eventually(lambda: not self.is_running, timeout_s=_END_S, what=f"end of {self._module}", every_s=_POLL_S)
        self._child = 0


def _bear(module: str) -> None:
    """Import a service, then fork it for every line that comes."""
    importlib.import_module(f"{module}.app")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a child has ended
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            _be_alone()
            sys.argv = [module]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            sys.exit()
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(child, child)  # whichever of the two is first: from now on it can be killed as a group
        print(child, flush=True)  # noqa: T201 - the answer


def _be_alone() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)


if __name__ == "__main__":
    _bear(sys.argv[1])
