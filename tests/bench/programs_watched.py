"""What the programs of a stack take while something is measured: memory, processor, and how full ingest says it is."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

import httpx2
import psutil

_EVERY_S = 0.25
_REFUSED = re.compile(r'^radbus_ingest_requests_refused_total\{because="(\w+)"\} (\S+)$', re.MULTILINE)
_LOAD = re.compile(r'^radbus_admission_load\{of="(\w+)"\} (\S+)$', re.MULTILINE)


class Watched:
    """Samples programs until it is left; `dead` names those that were gone meanwhile."""

    def __init__(self, pids: Mapping[str, int], ingest_url: str) -> None:
        self._programs = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._url = ingest_url
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._sample_all, daemon=True)
        self.peak_mib: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}
        self.loads: dict[str, float] = {}
        self.refused: dict[str, int] = {}
        self.duration_s = 0.0

    @property
    def dead(self) -> set[str]:
        """The programs that do not run any more."""
        return {name for name, program in self._programs.items() if not program.is_running()}

    def __enter__(self) -> Watched:
        self._started = time.monotonic()
        self._before, self._refused_before = self._cpu_s(), self._refused()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        before = self._refused_before
        self.refused = {of: n - before.get(of, 0) for of, n in self._refused().items() if n > before.get(of, 0)}
        self.duration_s = time.monotonic() - self._started
        self.cpu_s = {name: after - self._before[name] for name, after in self._cpu_s().items()}

    def _sample_all(self) -> None:
        while not self._left.wait(_EVERY_S):
            for name, program in self._programs.items():
                with suppress(psutil.NoSuchProcess):
                    mib = sum(each.memory_info().rss for each in _with_children(program)) / 1024**2
                    self.peak_mib[name] = max(self.peak_mib.get(name, 0.0), mib)
            with suppress(httpx2.TransportError):
                for of, load in _LOAD.findall(httpx2.get(f"{self._url}/metrics", timeout=5).text):
                    self.loads[of] = max(self.loads.get(of, 0.0), float(load))

    def _refused(self) -> dict[str, int]:
        metrics = httpx2.get(f"{self._url}/metrics", timeout=30).text
        return {because: int(float(count)) for because, count in _REFUSED.findall(metrics)}

    def _cpu_s(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, program in self._programs.items():
            with suppress(psutil.NoSuchProcess):
                found[name] = sum(sum(each.cpu_times()[:2]) for each in _with_children(program))
        return found


def _with_children(program: psutil.Process) -> list[psutil.Process]:
    return [program, *program.children(recursive=True)]
