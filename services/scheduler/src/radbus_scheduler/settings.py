"""What the scheduler reads from its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from radbus_runtime.settings import ServiceSettings

from radbus_scheduler.domain.changes import Backoff
from radbus_scheduler.domain.choice import Policy
from radbus_scheduler.domain.limits import Limits


class SchedulerSettings(ServiceSettings):
    """Settings of the scheduler."""

    machines_dir: Path = Field(description="Folder with the machines' manifests, */machine.yaml.")
    look_ahead: int = Field(default=1, ge=0, description="Tasks dispatched to a live pool beyond its free slots.")
    worker_silent_s: float = Field(default=15, gt=0, description="A worker not heard of for so long has no slots.")
    lease_stale_s: float = Field(
        default=1, ge=0, description="How long past a lease's end its worker counts as alive (a renewal gives 10 s)."
    )
    start_timeout_s: float = Field(
        default=30, gt=0, description="An order that no worker takes for so long, though its pool is idle, is lost."
    )
    job_wait_s: float = Field(
        default=43_200, gt=0, description="A job of which no task was handed out for so long has failed."
    )
    job_deadline_s: float = Field(
        default=3600,
        gt=0,
        description="A job that has not ended so long after its first task was handed out has failed.",
    )
    routine_ages_after_s: float = Field(default=600, gt=0, description="A routine task then counts as high.")
    high_ages_after_s: float = Field(default=1800, gt=0, description="A high task then counts as stat.")
    weights: dict[str, float] = Field(
        default_factory=dict, description="Fair share by institution, as a JSON object; 1 for those not named."
    )
    backoff_first_s: float = Field(default=2, ge=0, description="Wait before a task's second attempt; then doubled.")
    backoff_limit_s: float = Field(default=60, ge=0, description="Longest wait before an attempt.")
    dispatch_every_s: float = Field(default=0.5, gt=0, description="How often to look for ready tasks, unless nudged.")
    reap_every_s: float = Field(default=1, gt=0, description="How often to look for lost attempts and deadlines.")
    count_every_s: float = Field(default=10, gt=0, description="How often the gauges of /metrics are counted.")

    @field_validator("weights")
    @classmethod
    def _above_zero(cls, weights: dict[str, float]) -> dict[str, float]:
        if any(weight <= 0 for weight in weights.values()):
            raise ValueError("expected weights above 0")
        return weights

    @property
    def policy(self) -> Policy:
        """By what tasks are chosen."""
        return Policy(self.weights, self.routine_ages_after_s, self.high_ages_after_s)

    @property
    def backoff(self) -> Backoff:
        """How long a task waits between attempts."""
        return Backoff(self.backoff_first_s, self.backoff_limit_s)

    @property
    def limits(self) -> Limits:
        """What bounds an attempt."""
        return Limits(self.lease_stale_s, self.start_timeout_s)
