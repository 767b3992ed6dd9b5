"""Faults of the stack's servers: frozen, and out of room on the disk. Each is healed whatever the test does."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from radbus_testing.waiting import eventually

_LOOPBACK = "0100007F"
_HANGING_UP = ("04", "05")  # FIN_WAIT1 and FIN_WAIT2 (linux, include/net/tcp_states.h)
# More than any disk has, and what the stack's own configuration says.
_ALARM = "900000GB"
_NO_ALARM = "50MB"
_ALARM_S = 15.0


class Servers(Protocol):
    """What of the local stack is needed here."""

    def kill(self, name: str, number: signal.Signals = ..., *, restart: bool = ...) -> None:
        """Send a signal to a program and its children."""
        ...

    def rabbitmq_tool(self, tool: str, *arguments: str, timeout_s: float = ...) -> str:
        """Run one of the broker's tools and give what it prints."""
        ...


@contextmanager
def frozen(stack: Servers, name: str) -> Iterator[None]:
    """Stop a program where it is: its connections stay open, and nothing answers."""
    stack.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.kill(name, signal.SIGCONT)


def hung_up(port: int) -> int:
    """Count the connections whose client has ended its side while the server on that port has not: it gave it up."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2] == f"{_LOOPBACK}:{port:04X}" and row[3] in _HANGING_UP for row in rows)


@contextmanager
def disk_alarm(stack: Servers) -> Iterator[None]:
    """Let the broker find too little room on its disk: it takes no messages, and still hands out those it has."""
    try:
        _set_disk_free_limit(stack, _ALARM, alarm=True)
        yield
    finally:
        _set_disk_free_limit(stack, _NO_ALARM, alarm=False)


def _set_disk_free_limit(stack: Servers, limit: str, *, alarm: bool) -> None:
    stack.rabbitmq_tool("rabbitmqctl", "set_disk_free_limit", limit)
    what = f"{'disk' if alarm else 'end of the disk'} alarm"
    eventually(lambda: _has_alarm(stack) is alarm, timeout_s=_ALARM_S, what=what)


def _has_alarm(stack: Servers) -> bool:
    return "disk" in stack.rabbitmq_tool("rabbitmq-diagnostics", "alarms", "--silent").lower()
