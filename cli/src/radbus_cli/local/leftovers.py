"""Find and end what a stack left running, known by a variable in its environment and so never another's process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

# Set by nobody else: whatever has it is ended with the stack.
MARK = "RADBUS_PROGRAM_OF_STACK"


def living_processes(root: Path) -> list[int]:
    """Give the ids of the running processes that belong to the stack in a folder."""
    mark = f"{MARK}={root}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is another user's
        if mark in environment.split(b"\0"):
            found.append(int(folder.name))
    return found


def end_processes(root: Path, *, patience_s: float = 15.0) -> list[int]:
    """Ask what is left of a stack to end, kill what does not, and give the ids of all that were found."""
    found = living_processes(root)
    _signal_each(found, signal.SIGTERM)
    if _wait_until_gone(root, patience_s):
        return found
    # A stopped or hung one; and what its children started meanwhile.
    for _ in range(3):
        remaining = living_processes(root)
        _signal_each(remaining, signal.SIGKILL)
        if _wait_until_gone(root, 5.0):
            break
    return found


def _signal_each(process_ids: list[int], number: signal.Signals) -> None:
    for process_id in process_ids:
        try:
            os.kill(process_id, number)
        except ProcessLookupError:
            continue


def _wait_until_gone(root: Path, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while living_processes(root):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
