"""Places for requests that are taken in at a time: one institution's flood leaves some to the others."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_MOST_OF_ONE: Final = 0.75


class Places:
    """A number of places, of which one institution has at most three quarters; whoever waits for one is next."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._all = asyncio.Semaphore(count)
        self._most_of_one = max(1, math.ceil(count * _MOST_OF_ONE))
        self._own: dict[str, asyncio.Semaphore] = {}
        self._asked: Counter[str] = Counter()

    @property
    def load(self) -> float:
        """How many there are inside and waiting, for each place."""
        return self._asked.total() / max(1, self._count)

    def is_crowded(self, institution: str) -> bool:
        """Say whether as many of an institution wait as may be inside."""
        return self._asked[institution] >= 2 * self._most_of_one

    @asynccontextmanager
    async def taken(self, institution: str) -> AsyncIterator[None]:
        """Wait for a place and have it."""
        own = self._own.setdefault(institution, asyncio.Semaphore(self._most_of_one))
        self._asked[institution] += 1
        try:
            async with own, self._all:
                yield
        finally:
            self._asked[institution] -= 1
            if not self._asked[institution]:
                del self._asked[institution], self._own[institution]
