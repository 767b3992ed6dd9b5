"""The collection `workers`: who was heard of last when, and so how many slots each pool has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from radbus_contracts.facts import WorkerHeartbeatV1
from radbus_storage.documents import NOW, Collection, Index, after

WORKER_INDEXES: Final = (Index((("seen_at", 1),), expire_after_s=86_400),)
_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class PoolSlots:
    """The slots of a pool's live workers that take new tasks, and how many of them run something."""

    slots: int = 0
    busy: int = 0


class Workers:
    """The workers' last heartbeats."""

    def __init__(self, collection: Collection, *, silent_s: float) -> None:
        self._collection = collection
        self._silent_s = silent_s

    async def heard_of(self, heartbeat: WorkerHeartbeatV1) -> None:
        """Keep a heartbeat, with the server's time."""
        values = heartbeat.model_dump(exclude={"worker"})
        change = {name: {"$literal": value} for name, value in values.items()}
        await self._collection.update({"_id": heartbeat.worker}, [{"$set": {**change, "seen_at": NOW}}], upsert=True)

    async def by_pool(self) -> Mapping[str, PoolSlots]:
        """Add up the slots of each pool; one without a live worker that takes tasks is absent."""
        alive = await self._collection.find(
            {"draining": False, "$expr": {"$gte": ["$seen_at", after(-self._silent_s)]}}, limit=_LIMIT
        )
        pools: dict[str, PoolSlots] = {}
        for worker in alive:
            so_far = pools.get(worker["pool"], PoolSlots())
            pools[worker["pool"]] = PoolSlots(so_far.slots + worker["slots"], so_far.busy + worker["busy"])
        return pools
