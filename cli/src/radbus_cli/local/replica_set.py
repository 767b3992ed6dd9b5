"""Three MongoDB nodes as one replica set on one machine, for tests of what happens when its primary dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from radbus_cli.local import readiness
from radbus_cli.local.errors import ProgramNotReadyError
from radbus_cli.local.layout import HOST, Layout, repository
from radbus_cli.local.leftovers import MARK
from radbus_cli.local.mongo import mongod_command

_MEMBERS = 3
_START_S = 60.0
_END_S = 30.0


class ReplicaSet:
    """The nodes by number, 0 to 2; the set is written to with a majority, so one of them may be dead."""

    def __init__(self, layout: Layout) -> None:
        """Describe a set in a stack's folder and on its ports; nothing is started yet."""
        self._layout = layout
        self._ports = [layout.port(f"mongo-{number}") for number in range(_MEMBERS)]
        self._programs: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Give the address by which clients find whichever node is the primary."""
        hosts = ",".join(f"{HOST}:{port}" for port in self._ports)
        return f"mongodb://{hosts}/?replicaSet=rs0"

    def start(self, number: int) -> None:
        """Start a node, or start it again with its data."""
        folder = self._layout.folder(f"mongo-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        with self._layout.log(folder.name).open("ab") as log:
            self._programs[number] = subprocess.Popen(
                mongod_command(folder, self._ports[number]),
                # Marked, so that the end of the stack ends it, whatever became of this process.
                env={**os.environ, MARK: str(self._layout.root)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, number: int, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a node a signal; a killed one stays dead until it is started."""
        program = self._programs[number]
        program.send_signal(how)
        if how is signal.SIGKILL:
            program.wait(_END_S)

    def primary(self) -> int:
        """Return the number of the node that takes writes, waiting until there is one.

        Raises:
            ProgramNotReadyError: There was none in time.
        """
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if all(readiness.tcp_accepts(self._ports[number]) for number in self._running()):
                address = self._ask_for_primary()
                if address is not None:
                    return self._ports.index(int(address.rpartition(":")[2]))
            time.sleep(0.1)
        raise ProgramNotReadyError(f"no MongoDB node became primary in {_START_S:.0f} s")

    def end(self) -> None:
        """Kill all nodes: their data is a test's."""
        for number in self._running():
            self.kill(number)

    def _running(self) -> list[int]:
        return [number for number, program in self._programs.items() if program.poll() is None]

    def _ask_for_primary(self) -> str | None:
        # A program of its own, because only `libs/storage` may import the client of MongoDB.
        script = repository() / "deploy" / "local" / "initiate_replica_set.py"
        addresses = [f"{HOST}:{port}" for port in self._ports]
        done = subprocess.run(
            [sys.executable, str(script), *addresses], capture_output=True, text=True, timeout=_START_S, check=False
        )
        return done.stdout.strip() or None


@contextmanager
def replica_set(layout: Layout) -> Iterator[ReplicaSet]:
    """Give a set of three that has a primary, in a stack's folder; it is ended afterwards."""
    members = ReplicaSet(layout)
    try:
        for number in range(_MEMBERS):
            members.start(number)
        members.primary()
        yield members
    finally:
        members.end()
