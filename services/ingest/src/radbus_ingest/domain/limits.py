"""How much one request may hold, and what is answered when a body cannot be taken in."""

from __future__ import annotations

from dataclasses import dataclass

from radbus_contracts.errors import PermanentError, TransientError
from radbus_dicom.zips import ZipLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold; each excess has an answer of its own."""

    request_bytes: int
    part_bytes: int
    part_count: int
    zips: ZipLimits
    body_s: float = 4 * 3600
    body_idle_s: float = 60


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


class BusyError(TransientError):
    """More is waiting to be stored than this replica may hold."""
