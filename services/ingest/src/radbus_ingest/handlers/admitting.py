"""Let requests in while there is room for what they bring; refuse them early and clearly otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from radbus_ingest.adapters import metrics
from radbus_ingest.adapters.spool import Room
from radbus_ingest.domain.limits import BusyError


class Gate:
    """Counts requests in flight and looks at what already waits to be stored."""

    def __init__(self, room: Room, *, requests: int, waiting_bytes: int) -> None:
        self._room = room
        self._requests = requests
        self._waiting_bytes = waiting_bytes
        self._inside = 0
        metrics.waiting_bytes.set_function(lambda: room.used_bytes)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Be inside while a request is taken in.

        Raises:
            BusyError: Too much is inside already; the answer is 503 with Retry-After.
        """
        if self._inside >= self._requests or self._room.used_bytes > self._waiting_bytes:
            metrics.requests_refused.inc()
            raise BusyError("too much is waiting to be stored")
        self._inside += 1
        metrics.requests_in_flight.inc()
        try:
            yield
        finally:
            self._inside -= 1
            metrics.requests_in_flight.dec()
