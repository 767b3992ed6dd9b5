"""What waits behind ingest: tasks that no worker has taken yet, and events that the broker has not confirmed."""

from __future__ import annotations

from collections.abc import Sequence

from radbus_storage.documents import Collection, Documents
from radbus_storage.records import JOBS

_OUTBOX = {"outbox.at": {"$exists": True}}


class Backlog:
    """Counts in the records, never beyond a bound, so that counting costs little however much there is."""

    def __init__(self, documents: Documents, outboxes: Sequence[Collection]) -> None:
        self._jobs = documents[JOBS]
        self._outboxes = outboxes

    async def ready_tasks(self, *, limit: int) -> dict[str, int]:
        """Count the tasks that wait for a worker, by institution; at most `limit` jobs are looked at.

        Raises:
            TransientError: The store is away.
        """
        groups = await self._jobs.aggregate(
            [
                {"$match": {"state": "active", "tasks.state": "ready"}},
                {"$limit": limit},
                {"$project": {"institution": 1, "tasks.state": 1}},
                {"$unwind": "$tasks"},
                {"$match": {"tasks.state": "ready"}},
                {"$group": {"_id": "$institution", "count": {"$sum": 1}}},
            ],
            limit=limit,
        )
        return {str(group["_id"]): int(group["count"]) for group in groups}

    async def untold(self, *, limit: int) -> int:
        """Count the records with an event that is not confirmed, at most to `limit` in each collection.

        Raises:
            TransientError: The store is away.
        """
        return sum([await outbox.count(_OUTBOX, limit=limit) for outbox in self._outboxes])
