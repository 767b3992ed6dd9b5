"""What the workers leave in `leases` and `outcomes`, read only."""

from __future__ import annotations

from collections.abc import Sequence

from radbus_contracts.identity import outcome_id
from radbus_runtime.retention.reading import below
from radbus_storage.documents import Collection

from radbus_scheduler.adapters.queues import Flight
from radbus_scheduler.domain.limits import Lease


class Leases:
    """Which worker holds which task in flight."""

    def __init__(self, leases: Collection, outcomes: Collection) -> None:
        self._leases = leases
        self._outcomes = outcomes

    async def of(self, flights: Sequence[Flight]) -> dict[str, Lease]:
        """Read the leases of these tasks, by `<job>/<task>`."""
        ids = [lease_id(flight) for flight in flights]
        found = await self._leases.find({"_id": {"$in": ids}}, limit=len(ids)) if ids else []
        return {
            record["_id"]: Lease(record["attempt"], record["worker"], record["until"], record["released"])
            for record in found
        }

    async def with_outcome(self, flights: Sequence[Flight]) -> set[str]:
        """Find which of these attempts have an outcome, by its id.

        To be asked after the leases: a worker writes the outcome before it lets its lease go.
        """
        ids = [outcome_id(flight.job_id, flight.task.id, flight.task.attempt) for flight in flights]
        found = await self._outcomes.find({"_id": {"$in": ids}}, limit=len(ids), only={"_id": 1}) if ids else []
        return {record["_id"] for record in found}

    async def has_erased(self, institution: str, job_id: str) -> bool:
        """Say whether anything that a job has come to was erased."""
        where = {"_id": below(job_id), "institution": institution, "erased_at": {"$ne": None}}
        return await self._outcomes.find_one(where, only={"_id": 1}) is not None


def lease_id(flight: Flight) -> str:
    """Name the lease of a task."""
    return f"{flight.job_id}/{flight.task.id}"
