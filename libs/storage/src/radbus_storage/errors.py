"""What the stores can answer, in radbus's two kinds of errors."""

from __future__ import annotations

import errno

from radbus_contracts.errors import PermanentError, ServerAwayError, TransientError


class StoreUnavailableError(ServerAwayError):
    """A store did not answer in time, or not at all."""


class StoreFullError(StoreUnavailableError):
    """A store has no room; it may have some later."""


class DiskFullError(TransientError):
    """This machine's own disk has no room for what is fetched; another machine's may have."""


class StoreFailedError(TransientError):
    """A store answered that it failed at this; it may fail at the same again."""


class StoreRefusedError(PermanentError):
    """A store will never take this: too large, or not in its form."""


class AlreadyThereError(PermanentError):
    """A record with this `_id` or unique key is there already."""


class ObjectMissingError(PermanentError):
    """No object has this key."""


def is_disk_full(error: BaseException) -> bool:
    """Say whether this machine's own disk, or its user's share of it, was full."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
