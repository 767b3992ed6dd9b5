"""What each program of the local stack needs while series pass: memory that is its own, and processor time.

    python deploy/k8s/measure_usage.py --root FOLDER --base-port PORT --series 6

starts the stack, sends that many chest CTs of 120 slices at once, and prints a table: the requests of `base/*.yaml`
come from it. Shared pages count by their share (PSS), children with their parent.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from radbus_cli.local.stack import LocalStack

_EVERY_S = 0.5


@dataclass(slots=True)
class Need:
    """What one program needed."""

    idle_mib: float = 0.0
    most_mib: float = 0.0
    cpu_s: float = 0.0


def main() -> None:
    """Measure, and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--root", type=Path, required=True)
    asked.add_argument("--base-port", type=int, required=True)
    asked.add_argument("--series", type=int, default=6)
    given = asked.parse_args()
    stack = LocalStack(given.root, given.base_port)
    stack.up(timeout_s=600)
    needs = {each.name: Need(idle_mib=_memory_mib(each.pid)) for each in stack.status() if each.pid}
    before = {each.name: _cpu_s(each.pid) for each in stack.status() if each.pid}
    done = threading.Event()
    watching = threading.Thread(target=_watch, args=(stack, needs, done))
    watching.start()
    began = time.monotonic()
    _send(given.root, given.base_port, given.series)
    took_s = time.monotonic() - began
    done.set()
    watching.join()
    for each in stack.status():
        if each.pid:
            needs[each.name].cpu_s = _cpu_s(each.pid) - before[each.name]
    print(f"{given.series} series in {took_s:.0f} s\n")
    print("| program | idle MiB | most MiB | CPU s a series |\n|---|---|---|---|")
    for name, need in needs.items():
        print(f"| {name} | {need.idle_mib:.0f} | {need.most_mib:.0f} | {need.cpu_s / given.series:.2f} |")


def _send(root: Path, base_port: int, series: int) -> None:
    environment = {"RADBUS_STACK_ROOT": str(root), "RADBUS_STACK_BASE_PORT": str(base_port), "PATH": "/usr/bin:/bin"}
    command = (str(Path(sys.prefix) / "bin" / "radbus"), "demo", "--json")
    demos = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(series)]
    if any(demo.wait(timeout=900) for demo in demos):
        sys.exit("measure: a series got no result")


def _watch(stack: LocalStack, needs: dict[str, Need], done: threading.Event) -> None:
    pids = [(each.name, each.pid) for each in stack.status() if each.pid]
    while not done.wait(_EVERY_S):
        for name, pid in pids:
            needs[name].most_mib = max(needs[name].most_mib, _memory_mib(pid))


def _family(pid: int) -> Sequence[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory_mib(pid: int) -> float:
    found = 0
    for process in _family(pid):
        try:
            found += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return found / 2**20


def _cpu_s(pid: int) -> float:
    found = 0.0
    for process in _family(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found += times.user + times.system + times.children_user + times.children_system
    return found


if __name__ == "__main__":
    main()
