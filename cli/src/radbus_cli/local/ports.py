"""Keep two starts of one stack, and two users of one port, out of each other's way."""

from __future__ import annotations

import fcntl
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from radbus_cli.local.errors import PortTakenError, StackError
from radbus_cli.local.layout import HOST
from radbus_cli.local.programs import Program


def refuse_taken_ports(programs: Iterable[Program]) -> None:
    """Make sure that every port is free before anything starts.

    Raises:
        PortTakenError: Something else listens on one of them.
    """
    for program in programs:
        for port in program.ports:
            if not _is_free(port):
                raise PortTakenError(
                    f"Port {port}, which {program.name} needs, is in use: choose another with --base-port."
                )


@contextmanager
def running_lock(file: Path, *, timeout_s: float) -> Iterator[None]:
    """Let one start of a stack wait for another; the kernel drops the lock of one that dies."""
    deadline = time.monotonic() + timeout_s
    with file.open("w") as handle:
        while not _locked(handle.fileno()):
            if time.monotonic() > deadline:
                raise StackError(f"Another start of this stack has held {file} for {timeout_s:.0f} s.")
            time.sleep(0.1)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
