"""Records in memory, for what reads and writes those of callers."""

from __future__ import annotations

import asyncio
from typing import Any

from radbus_storage.errors import AlreadyThereError


class Records:
    """A collection in memory, of which only what has an `_id` can be asked for; `failing` is raised by each write."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.records = {record["_id"]: record for record in records}
        self.failing: Exception | None = None
        self.reads = 0
        self.writes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.written = asyncio.Event()

    async def find_one(self, where: dict[str, str]) -> dict[str, Any] | None:
        self.reads += 1
        return self.records.get(where["_id"])

    async def insert(self, document: dict[str, Any]) -> None:
        if document["_id"] in self.records:
            raise AlreadyThereError("there")
        self.records[document["_id"]] = document

    async def update(self, where: dict[str, Any], change: dict[str, Any]) -> bool:
        self.writes.append((where, change))
        self.written.set()
        if self.failing is not None:
            raise self.failing
        return True
