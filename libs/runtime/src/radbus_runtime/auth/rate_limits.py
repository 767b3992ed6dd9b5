"""How many requests a caller may make in a while: counted in each replica's own memory."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from typing import Final

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from radbus_contracts.errors import PermanentError

from radbus_runtime.auth.principal import Principal, RateLimitedError

_CALLERS_LIMIT: Final = 10_000  # above it all counts begin anew; each request looks through them


class RateLimitFormError(PermanentError):
    """Not a rate limit."""


@lru_cache(maxsize=1024)
def parse_rate_limit(text: str) -> RateLimitItem:
    """Read a rate limit such as `60000/minute` or `10 per 2 seconds`.

    Raises:
        RateLimitFormError: It is none, more than one, or lets nothing pass.
    """
    try:
        [limit] = parse_many(text)
    except ValueError:
        limit = None
    if limit is None or limit.amount < 1:
        raise RateLimitFormError("expected one rate limit, such as 60000/minute")
    return limit


class RateLimiter:
    """Counts each caller's requests; a window begins with the first request in it."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._storage = MemoryStorage()
        self._windows = FixedWindowRateLimiter(self._storage)

    async def count(self, principal: Principal) -> None:
        """Count a request.

        Raises:
            RateLimitedError: It is one too many.
        """
        limit = parse_rate_limit(principal.rate_limit or self._default)
        if len(self._storage.storage) >= _CALLERS_LIMIT:
            await self._storage.reset()
        if await self._windows.hit(limit, principal.caller):
            return
        window = await self._windows.get_window_stats(limit, principal.caller)
        raise RateLimitedError(max(1, math.ceil(window.reset_time - time.time())))
