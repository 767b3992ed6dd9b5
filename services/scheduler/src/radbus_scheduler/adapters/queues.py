"""The tasks within `jobs` as queues: what is ready, and what is in flight.

Each question costs what it returns, not the backlog.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from radbus_contracts.facts import Priority
from radbus_storage.documents import Collection, Document

from radbus_scheduler.adapters.job_documents import task_of
from radbus_scheduler.domain.choice import Candidate, Share
from radbus_scheduler.domain.job import JobState, Task, TaskState
from radbus_scheduler.domain.transitions import IN_FLIGHT

_IN_FLIGHT: Final = [state.value for state in sorted(IN_FLIGHT)]
_IN_FLIGHT_LIMIT: Final = 5_000
_COUNT_LIMIT: Final = 10_000
GAUGED: Final = (TaskState.WAITING, TaskState.READY, TaskState.DISPATCHED, TaskState.RUNNING)


@dataclass(frozen=True, slots=True)
class Flight:
    """A task in flight and the job that it belongs to."""

    job_id: str
    task: Task


class TaskQueues:
    """Tasks of active jobs, by state and pool."""

    def __init__(self, jobs: Collection) -> None:
        self._jobs = jobs

    async def candidates(self, pool: str, *, now: datetime, limit: int) -> list[Candidate]:
        """Find the oldest ready tasks of a pool, at most `limit` jobs for each priority and institution."""
        found: list[Candidate] = []
        for priority in Priority:
            institution = ""
            # A skip-scan: one small question an institution that has something ready.
            while jobs := await self._oldest(pool, priority, after=institution, now=now, limit=limit):
                institution = jobs[0]["institution"]
                for job in jobs:
                    if job["institution"] == institution:
                        found += _candidates_in(job, pool, now)
        return found

    async def is_any_ready(self, pools: Iterable[str], now: datetime) -> bool:
        """Say whether any of these pools has a task to be dispatched."""
        for pool in pools:
            where = {"state": JobState.ACTIVE.value, "tasks": _ready_in(pool, now)}
            if await self._jobs.find(where, limit=1, only={"_id": 1}):
                return True
        return False

    async def in_flight(self) -> list[Flight]:
        """Read every task in flight: as many as the pools have slots, and the look-ahead."""
        where = {"state": JobState.ACTIVE.value, "tasks.state": {"$in": _IN_FLIGHT}}
        jobs = await self._jobs.find(where, limit=_IN_FLIGHT_LIMIT, only={"tasks": 1})
        tasks = ((job["_id"], task_of(task)) for job in jobs for task in job["tasks"])
        return [Flight(job_id, task) for job_id, task in tasks if task.state in IN_FLIGHT]

    async def shares(self) -> dict[Share, int]:
        """Count the tasks in flight by pool and institution."""
        groups = await self._jobs.aggregate(
            [
                {"$match": {"state": JobState.ACTIVE.value, "tasks.state": {"$in": _IN_FLIGHT}}},
                {"$project": {"institution": 1, "tasks.state": 1, "tasks.pool": 1}},
                {"$unwind": "$tasks"},
                {"$match": {"tasks.state": {"$in": _IN_FLIGHT}}},
                {"$group": {"_id": {"pool": "$tasks.pool", "institution": "$institution"}, "count": {"$sum": 1}}},
            ],
            limit=_IN_FLIGHT_LIMIT,
        )
        return {(group["_id"]["pool"], group["_id"]["institution"]): group["count"] for group in groups}

    async def counts(self) -> dict[tuple[TaskState, str], int]:
        """Count the tasks of active jobs by state and pool; at most the first 10,000 jobs of a state are looked at."""
        counts: dict[tuple[TaskState, str], int] = {}
        for state in GAUGED:
            groups = await self._jobs.aggregate(
                [
                    {"$match": {"state": JobState.ACTIVE.value, "tasks.state": state.value}},
                    {"$limit": _COUNT_LIMIT},
                    {"$unwind": "$tasks"},
                    {"$match": {"tasks.state": state.value}},
                    {"$group": {"_id": "$tasks.pool", "count": {"$sum": 1}}},
                ],
                limit=1_000,
            )
            counts |= {(state, group["_id"]): group["count"] for group in groups}
        return counts

    async def use_cases(self) -> list[str]:
        """Name the use cases of active jobs; at most the first 10,000 jobs are looked at."""
        groups = await self._jobs.aggregate(
            [
                {"$match": {"state": JobState.ACTIVE.value, "tasks.state": {"$in": [state.value for state in GAUGED]}}},
                {"$limit": _COUNT_LIMIT},
                {"$group": {"_id": "$use_case"}},
            ],
            limit=1_000,
        )
        return [group["_id"] for group in groups]

    async def _oldest(self, pool: str, priority: Priority, *, after: str, now: datetime, limit: int) -> list[Document]:
        return await self._jobs.find(
            {
                "state": JobState.ACTIVE.value,
                "tasks": _ready_in(pool, now),
                "priority": priority.value,
                "institution": {"$gt": after},
            },
            limit=limit,
            sort=(("institution", 1), ("requested_at", 1)),
            only={"institution": 1, "priority": 1, "requested_at": 1, "tasks": 1},
        )


def _ready_in(pool: str, now: datetime) -> Document:
    return {"$elemMatch": {"state": TaskState.READY.value, "pool": pool, "not_before": {"$lte": now}}}


def _candidates_in(job: Document, pool: str, now: datetime) -> list[Candidate]:
    return [
        Candidate(
            job_id=job["_id"],
            task_id=task.id,
            attempt=task.attempt,
            pool=pool,
            institution=job["institution"],
            priority=Priority(job["priority"]),
            requested_at=job["requested_at"],
            ready_at=task.ready_at or job["requested_at"],
        )
        for task in map(task_of, job["tasks"])
        if task.state is TaskState.READY and task.pool == pool and task.not_before <= now
    ]
