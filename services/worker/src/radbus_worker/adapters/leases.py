"""Leases in MongoDB: who runs which attempt of a task. Only workers write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from typing import Any

from radbus_contracts.envelope import Event
from radbus_contracts.orders import RunTaskV1
from radbus_storage.documents import NOW, Collection, Index, after
from radbus_storage.errors import AlreadyThereError

from radbus_worker.domain.claims import Claim, lease_id

_FORGET_AFTER_S = 7 * 24 * 3600
LEASE_INDEX = Index((("until", 1),), expire_after_s=_FORGET_AFTER_S)
_ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases that one worker holds."""

    leases: Collection
    jobs: Collection
    worker: str
    lease_s: float
    time_zone: tzinfo = UTC

    async def claim(self, event: Event[RunTaskV1]) -> Claim | None:
        """Take an attempt's lease in one atomic upsert; None when it, or a later attempt, is taken or not wanted."""
        order = event.data
        job = await self._job(event.institution, order)
        if job is None or _unwanted(job, order.task_id) is not None:
            return None
        try:
            lease = await self.leases.update_and_get(
                {"_id": lease_id(order), "attempt": {"$lt": order.attempt}},
                [{"$set": self._taken(order)}],
                upsert=True,
            )
        except AlreadyThereError:
            return None
        if lease is None:
            return None
        return Claim(
            institution=event.institution,
            order=order,
            use_case_version=job["use_case_version"],
            requested_at=job["requested_at"].astimezone(self.time_zone),
            claimed_at=lease["until"] - timedelta(seconds=self.lease_s),
        )

    async def renew(self, claim: Claim) -> str | None:
        """Prolong a lease, and return why the attempt is not to go on, or None."""
        if not await self.leases.update(self._mine(claim), [{"$set": {"until": after(self.lease_s)}}]):
            return "another attempt has the lease"
        job = await self._job(claim.institution, claim.order)
        return "the job is gone" if job is None else _unwanted(job, claim.order.task_id)

    async def hold(self, claim: Claim, seconds: float) -> None:
        """Keep a lease for a time after its outcome is written, so that nobody runs the task while the news travels."""
        await self.leases.update(self._mine(claim), [{"$set": {"until": after(seconds)}}])

    async def first_prior(self, claim: Claim, prior: dict[str, Any]) -> dict[str, Any]:
        """Note with which earlier result a task compares, and return what its first attempt has noted."""
        kept = {"prior": {"$ifNull": ["$prior", {"$literal": prior}]}}
        lease = await self.leases.update_and_get({"_id": claim.lease_id}, [{"$set": kept}])
        return prior if lease is None else dict(lease["prior"])

    async def give_up(self, claim: Claim) -> None:
        """Let another worker take the task at once."""
        await self.leases.update(self._mine(claim), [{"$set": {"until": NOW, "released": True}}])

    async def _job(self, institution: str, order: RunTaskV1) -> dict[str, Any] | None:
        only = dict.fromkeys(("state", "use_case_version", "requested_at", "tasks.id", "tasks.state"), 1)
        return await self.jobs.find_one({"_id": order.job_id, "institution": institution}, only=only)

    def _taken(self, order: RunTaskV1) -> dict[str, Any]:
        return {
            "job_id": {"$literal": order.job_id},
            "task_id": {"$literal": order.task_id},
            "attempt": order.attempt,
            "worker": {"$literal": self.worker},
            "until": after(self.lease_s),
            "released": False,
        }

    def _mine(self, claim: Claim) -> dict[str, Any]:
        return {
            "_id": claim.lease_id,
            "attempt": claim.order.attempt,
            "worker": self.worker,
            "released": False,
        }


def _unwanted(job: dict[str, Any], task_id: str) -> str | None:
    if job["state"] != "active":
        return f"the job is {job['state']}"
    states = {task["id"]: task["state"] for task in job["tasks"]}
    if states.get(task_id) in _ENDED:
        return f"the task has {states[task_id]}"
    return None
