"""How much one request may hold, and all together; what is answered when a body cannot be taken in."""

from __future__ import annotations

from dataclasses import dataclass

from radbus_contracts.errors import PermanentError
from radbus_dicom.errors import ZipNotValid
from radbus_dicom.zips import ZipLimits
from radbus_runtime.overload import OverloadedError


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold; each excess has an answer of its own."""

    request_bytes: int
    part_bytes: int
    part_count: int
    zips: ZipLimits
    body_s: float = 4 * 3600
    body_idle_s: float = 60
    body_least_bytes_per_s: int = 1024


@dataclass(frozen=True, slots=True)
class GateLimits:
    """How much may be inside, how long to wait for room, and whose requests no backlog of tasks holds up."""

    requests: int
    waiting_bytes: int
    wait_s: float
    retry_after_least_s: int = 5
    urgent_sources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Watermarks:
    """The limits, each with its unit; what is at one is refused."""

    disk_low_bytes: int
    disk_high_bytes: int
    memory_bytes: int
    tasks: int
    untold: int
    store_full_s: float
    every_s: float


class InflatedRoom:
    """What the zips of one request may become together: each for itself would be as many bombs as there are parts."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes

    def take(self, size_bytes: int) -> None:
        """Count what a zip will be.

        Raises:
            ZipNotValid: It is too much, with the zips before it.
        """
        if size_bytes > self._left_bytes:
            raise ZipNotValid(f"expected zips of at most {self._limit_bytes} bytes in one request when inflated")
        self._left_bytes -= size_bytes


class BodyError(PermanentError):
    """A body that cannot be read to its end; `status` is the HTTP status that says so."""

    status = 400


class BodyTooLargeError(BodyError):
    """A body above a limit of size or number."""

    status = 413


class BodyLateError(BodyError):
    """A body of which the next bytes, or the last ones, did not come in time."""

    status = 408


class BodyKindError(BodyError):
    """A body of a media type that holds no instances."""

    status = 415


class BodyBusyError(BodyError):
    """A body for whose rest there was no room for too long; sending it again later is right."""

    status = 503

    def __init__(self, text: str, *, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class BusyError(OverloadedError):
    """More is waiting, here or behind, than this replica may take in addition."""
