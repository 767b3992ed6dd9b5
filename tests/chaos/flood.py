"""Clients that send more than can be taken: each is told to come again later, does so, and gives up on nothing."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle

import requests

_BOUNDARY = "radbus-flood"
_TIMEOUT_S = 60  # of any wait for the server: one that is reached fails the test


class Dialect(StrEnum):
    """The ways in over HTTP that instances take."""

    UPLOAD = "/upload"
    STOW_RS = "/studies"


@dataclass(frozen=True, slots=True)
class Told:
    """What one request was answered, when, and after how long."""

    status: int
    at: float
    duration_s: float
    retry_after_s: int | None
    instances: int


@dataclass(slots=True)
class Flood:
    """What all clients of a flood were answered; `until` is when the last of them gives up, by the monotonic clock."""

    url: str
    headers: Mapping[str, str]
    until: float
    told: list[Told] = field(default_factory=list)

    def pour(self, contents: Iterable[Sequence[bytes]], *, clients: int) -> None:
        """Send each of these in a request of its own, from so many clients at once, until all are accepted.

        Raises:
            TimeoutError: They were not in time.
            requests.RequestException: A connection broke, or an answer did not come.
        """
        # One after the other in each dialect, so that both are refused and both get in.
        coming, lock = zip(contents, cycle(Dialect), strict=False), threading.Lock()

        def send_all() -> None:
            while True:
                with lock:
                    item = next(coming, None)
                if item is None:
                    return
                self._accepted(*item)

        with ThreadPoolExecutor(clients) as pool:
            for ended in [pool.submit(send_all) for _ in range(clients)]:
                ended.result()

    @property
    def statuses(self) -> Counter[int]:
        """How many answers there were of each status."""
        return Counter(each.status for each in self.told)

    def _accepted(self, instances: Sequence[bytes], dialect: Dialect) -> None:
        while (told := self._send(instances, dialect)).status == 503:
            wait_s = told.retry_after_s or 1
            if time.monotonic() + wait_s > self.until:
                raise TimeoutError(f"not accepted in time; the last answer was {told}")
            time.sleep(wait_s)

    def _send(self, instances: Sequence[bytes], dialect: Dialect) -> Told:
        started = time.monotonic()
        if dialect is Dialect.UPLOAD:
            files = [(f"file{n}", (f"{n}.dcm", io.BytesIO(each))) for n, each in enumerate(instances)]
            answer = requests.post(f"{self.url}{dialect}", files=files, headers=self.headers, timeout=_TIMEOUT_S)
        else:
            content_type = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
            headers = {**self.headers, "Content-Type": content_type, "Accept": "application/dicom+json"}
            answer = requests.post(
                f"{self.url}{dialect}", data=_related(instances), headers=headers, timeout=_TIMEOUT_S
            )
        now = time.monotonic()
        wait = answer.headers.get("Retry-After", "")
        told = Told(answer.status_code, now, now - started, int(wait) if wait.isdecimal() else None, len(instances))
        self.told.append(told)
        return told


def _related(instances: Sequence[bytes]) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join((*(head + each + b"\r\n" for each in instances), f"--{_BOUNDARY}--\r\n".encode()))
