"""Imported by the pool's fork server and by nobody else: a polite end is for the worker, which still needs its pool."""

from __future__ import annotations

import signal

# Supervisors and terminals signal the whole group; the server ends with the worker in any case.
for _number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(_number, signal.SIG_IGN)
