"""Running migrations: in bounded batches, by one replica each, to be killed and gone on with at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import structlog
from radbus_contracts.errors import TransientError
from radbus_storage import records
from radbus_storage.documents import NOW, Documents, after
from radbus_storage.errors import AlreadyThereError

from radbus_runtime.migrating.migration import Migration

log = structlog.get_logger(__name__)

LEASE_S: Final = 60.0
COUNT_LIMIT: Final = 1_000_000


class MigrationHeldError(TransientError):
    """Another replica runs this migration now."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many records a batch changes, and how long to leave the database alone after each."""

    batch: int = 500
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a migration is; `old` is counted now, to a million."""

    name: str
    title: str
    collection: str
    state: str  # pending | running | done
    old: int
    changed: int
    finished_at: datetime | None


class Migrator:
    """Runs migrations and says how far they are; what it knows is in `migrations` and in the records themselves."""

    def __init__(self, documents: Documents, migrations: Sequence[Migration], *, lease_s: float = LEASE_S) -> None:
        self._documents = documents
        self._migrations = migrations
        self._registry = documents[records.MIGRATIONS]
        self._holder = str(uuid4())
        self._lease_s = lease_s

    async def standings(self) -> list[Standing]:
        """Say how far each migration is."""
        return [await self._standing(migration) for migration in self._migrations]

    async def run(self, pace: Pace) -> list[Standing]:
        """Bring every record of an old shape to the present one, one migration after another.

        Raises:
            MigrationHeldError: Another replica runs one of them.
        """
        for migration in self._migrations:
            if await self._is_needed(migration):
                await self._run(migration, pace)
        return await self.standings()

    async def _is_needed(self, migration: Migration) -> bool:
        known = await self._registry.find_one({"_id": migration.name})
        if known is not None and known["state"] == "done":
            # A service of the release before may have written the old shape since.
            return await self._documents[migration.collection].count(migration.old, limit=1) > 0
        return True

    async def _run(self, migration: Migration, pace: Pace) -> None:
        behind = await self._claim(migration)
        log.info("migration.started", migration=migration.name, behind=behind)
        collection = self._documents[migration.collection]
        while True:
            ids = await self._next(migration, behind, pace.batch)
            if not ids and behind is None:
                break
            behind = ids[-1] if ids else None  # once more from the front: some may have been written meanwhile
            changed = 0
            if ids:
                # The old shape again: one that a service has written anew since it was read is left as it is.
                changed = await collection.update_many({"_id": {"$in": ids}, **migration.old}, list(migration.change))
            await self._progress(migration, behind, changed)
            await asyncio.sleep(pace.pause_s)
        await self._finish(migration)
        log.info("migration.finished", migration=migration.name)

    async def _next(self, migration: Migration, behind: str | None, batch: int) -> list[str]:
        beyond = {"_id": {"$gt": behind}} if behind is not None else {}
        found = await self._documents[migration.collection].find(
            {**beyond, **migration.old}, limit=batch, sort=[("_id", 1)], only={"_id": 1}
        )
        return [each["_id"] for each in found]

    async def _claim(self, migration: Migration) -> str | None:
        """Take the lease, and return behind which record the one before has stopped."""
        begun = {"state": "running", "holder": None, "until": None, "behind": None, "changed": 0, "finished_at": None}
        with suppress(AlreadyThereError):
            await self._registry.insert({"_id": migration.name, **begun, "started_at": await self._documents.now()})
        free = {"_id": migration.name, "$expr": {"$lt": ["$until", NOW]}}  # None is before every time
        held = {"state": "running", "holder": self._holder, "until": after(self._lease_s), "finished_at": None}
        found = await self._registry.update_and_get(free, [{"$set": held}])
        if found is None:
            raise MigrationHeldError(f"{migration.name}: another replica runs it; try again in a minute")
        behind: str | None = found["behind"]
        return behind

    async def _progress(self, migration: Migration, behind: str | None, changed: int) -> None:
        own = {"_id": migration.name, "holder": self._holder}
        change = [
            {"$set": {"behind": behind, "changed": {"$add": ["$changed", changed]}, "until": after(self._lease_s)}}
        ]
        if not await self._registry.update(own, change):
            raise MigrationHeldError(f"{migration.name}: the lease was lost; another replica goes on with it")

    async def _finish(self, migration: Migration) -> None:
        change = [{"$set": {"state": "done", "holder": None, "until": NOW, "behind": None, "finished_at": NOW}}]
        await self._registry.update({"_id": migration.name, "holder": self._holder}, change)

    async def _standing(self, migration: Migration) -> Standing:
        known: dict[str, Any] = await self._registry.find_one({"_id": migration.name}) or {}
        old = await self._documents[migration.collection].count(migration.old, limit=COUNT_LIMIT)
        state = "running" if known.get("state") == "running" else ("pending" if old else "done")
        return Standing(
            name=migration.name,
            title=migration.title,
            collection=migration.collection,
            state=state,
            old=old,
            changed=known.get("changed", 0),
            finished_at=known.get("finished_at"),
        )
