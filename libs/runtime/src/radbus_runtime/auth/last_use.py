"""When a token was last used: written beside the requests, never in their way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from radbus_contracts.errors import RadbusError
from radbus_storage.documents import Collection

log = structlog.get_logger(__name__)

_EVERY: Final = timedelta(minutes=1)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_TRIED_LIMIT: Final = 10_000


class LastUse:
    """Notes the use of tokens, each at most once a minute over all replicas."""

    def __init__(self, tokens: Collection) -> None:
        self._tokens = tokens
        self._tried: dict[str, datetime] = {}  # so that a store that fails is not asked at each request
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, record: Mapping[str, Any]) -> None:
        """Write that this token is used now, unless that was done in the last minute; does not wait for it."""
        token_id, now = record["_id"], datetime.now(UTC)
        if now - max(record.get("last_used_at") or _NEVER, self._tried.get(token_id, _NEVER)) < _EVERY:
            return
        if len(self._tried) >= _TRIED_LIMIT:
            self._tried.clear()
        self._tried[token_id] = now
        task = asyncio.create_task(self._write(token_id, now))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, token_id: str, now: datetime) -> None:
        long_ago = [{"last_used_at": None}, {"last_used_at": {"$lt": now - _EVERY}}]
        try:
            await self._tokens.update({"_id": token_id, "$or": long_ago}, {"$set": {"last_used_at": now}})
        except RadbusError as error:
            log.warning("token_use.not_noted", exc_info=error)
