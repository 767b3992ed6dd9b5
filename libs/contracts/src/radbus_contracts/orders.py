"""The orders that the scheduler gives to worker pools."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from radbus_contracts.envelope import Payload
from radbus_contracts.facts import CompareSpec, TaskOutcome


class RunTaskV1(Payload):
    """Run one attempt of a task. `attempt` is the fence: a lower one has lost."""

    job_id: str
    task_id: str
    attempt: int
    machine: str
    use_case: str
    title: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    needs: tuple[TaskOutcome, ...] = ()
    channels: dict[str, str] = Field(default_factory=dict)
    archive: str | None = None
    compare: CompareSpec | None = None
    finish_by: datetime
