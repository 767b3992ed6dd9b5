"""The public keys of a site's identity provider, kept for a while and asked for again when one is not known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from radbus_contracts.errors import TransientError

from radbus_runtime.auth.signed import VerifyingKey

log = structlog.get_logger(__name__)

FRESH_S: Final = 300
FETCH_EVERY_S: Final = 10

FetchKeys = Callable[[], Awaitable[Mapping[str, VerifyingKey]]]
"""Gets the provider's keys by their ids, or raises ProviderAwayError; has a deadline of its own."""


class ProviderAwayError(TransientError):
    """The identity provider does not answer, or not with keys."""


class ProviderKeys:
    """Finds a key by its id; what is known goes on being used while the provider is away."""

    def __init__(self, fetch: FetchKeys, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, VerifyingKey] = {}
        self._fresh_until = self._fetch_from = -float("inf")
        self._away = False
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str) -> VerifyingKey | None:
        """Return a key, or None when the provider has none of this id.

        Raises:
            ProviderAwayError: It is not known, and the provider cannot be asked.
        """
        stale = self._clock() >= self._fresh_until
        # Who knows the key already does not wait for somebody else's fetch of it.
        if key_id not in self._keys or (stale and not self._fetching.locked()):
            await self._refresh()
        if key_id not in self._keys and self._away:
            raise ProviderAwayError("the identity provider is away, and this key is not known")
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        async with self._fetching:
            if self._clock() < self._fetch_from:
                return
            self._fetch_from = self._clock() + FETCH_EVERY_S
            try:
                self._keys = await self._fetch()
            except ProviderAwayError as error:
                self._away = True
                log.warning("provider_keys.not_fetched", reason=str(error))
                return
            self._away, self._fresh_until = False, self._clock() + FRESH_S
            log.info("provider_keys.fetched", count=len(self._keys))
