"""An attempt at a task that this worker has taken, and the time that it has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from radbus_contracts.identity import outcome_id
from radbus_contracts.orders import RunTaskV1


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt, claimed; both times are of the database's clock, `requested_at` in the site's time zone."""

    institution: str
    order: RunTaskV1
    use_case_version: int
    requested_at: datetime
    claimed_at: datetime

    @property
    def lease_id(self) -> str:
        """The id of the task's one lease, whatever the attempt."""
        return lease_id(self.order)

    @property
    def outcome_id(self) -> str:
        """The id of what this attempt comes to."""
        return outcome_id(self.order.job_id, self.order.task_id, self.order.attempt)

    def time_limit_s(self, timeout_s: float) -> float:
        """Return how long the attempt may take: its machine's limit, or less when the job ends before."""
        return max(0.0, min(timeout_s, (self.order.finish_by - self.claimed_at).total_seconds()))

    def object_key(self, name: str) -> str:
        """Name an object of this attempt; attempts never write over one another."""
        order = self.order
        return f"{self.institution}/derived/{order.job_id}/{order.task_id}/{order.attempt}/{name}"


def lease_id(order: RunTaskV1) -> str:
    """Make the id of a task's lease."""
    return f"{order.job_id}/{order.task_id}"
