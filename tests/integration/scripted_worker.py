"""A scheduler on real servers, with a worker whose every step the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from radbus_cli.local.stack import LocalStack
from radbus_contracts import facts, topology
from radbus_contracts.envelope import Event, Payload
from radbus_contracts.facts import JobCompletedV1, JobFailedV1, JobRequestedV1, JobRetriedV1, Priority, Scope, TaskSpec
from radbus_contracts.orders import RunTaskV1
from radbus_runtime.auth.tokens import create_token
from radbus_runtime.bus import Bus
from radbus_runtime.events import Teller
from radbus_runtime.service import Service
from radbus_scheduler.app import create_app
from radbus_scheduler.settings import SchedulerSettings
from radbus_storage.documents import NOW, Document, Documents, after

TIMEOUT_S = 20.0


def scheduler_settings(stack: LocalStack, pool: str, folder: Path) -> SchedulerSettings:
    """Settings of a scheduler with a database of its own and a machine `m` in a pool of its own."""
    (folder / "m").mkdir()
    manifest = f"name: m\nversion: '1'\ntitle: M\nrunner: triton\npool: {pool}\nmax_attempts: 3\ntimeout_s: 60\n"
    (folder / "m" / "machine.yaml").write_text(manifest)
    given = {name.removeprefix("RADBUS_").lower(): value for name, value in stack.environment().items()}
    own = {
        "mongo_database": f"scheduler-{uuid4().hex[:8]}",
        "machines_dir": folder,
        "worker_silent_s": 60,
        "look_ahead": 0,
        "backoff_first_s": 0.2,
        "backoff_limit_s": 0.4,
        "lease_stale_s": 0.2,
        "dispatch_every_s": 0.1,
        "reap_every_s": 0.1,
    }
    return SchedulerSettings(**{**given, **own})


@asynccontextmanager
async def client_of(service: Service, institution: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Make a client of a service in this process."""
    token = await create_token(service.documents["tokens"], institution=institution, name="test")
    transport, headers = httpx2.ASGITransport(service.api), {"Authorization": f"Token {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


@asynccontextmanager
async def running_scheduler(settings: SchedulerSettings) -> AsyncIterator[Service]:
    """Run a replica without its HTTP server."""
    service = create_app(settings)
    for collection, indexes in service.indexes:
        await collection.ensure_indexes(indexes)
    await service.bus.start()
    loops = [asyncio.ensure_future(loop()) for loop in service.loops]
    try:
        yield service
    finally:
        await service.bus.stop_consuming()
        for loop in loops:
            loop.cancel()
        ends = await asyncio.gather(*loops, return_exceptions=True)
        await service.bus.stop()
        service.documents.close()
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


@dataclass
class Scripted:
    """A worker, the one who asks, and the one who listens, in one."""

    institution: str
    pool: str
    bus: Bus
    documents: Documents
    orders: asyncio.Queue[RunTaskV1] = field(default_factory=asyncio.Queue)
    completed: dict[str, JobCompletedV1] = field(default_factory=dict)
    failed: dict[str, JobFailedV1] = field(default_factory=dict)
    told: list[Event[Any]] = field(default_factory=list)
    """Every fact of a job's end or retry, in the order in which they came."""
    worker: str = field(default_factory=lambda: f"worker-{uuid4().hex[:6]}")

    async def ask(
        self,
        *tasks: TaskSpec,
        priority: Priority = Priority.ROUTINE,
        institution: str | None = None,
        job_id: str | None = None,
        subject_uid: str | None = None,
        revision: int = 1,
        archive: str | None = None,
    ) -> str:
        """Ask for a job and wait until the scheduler has it."""
        job_id = job_id or str(uuid4())
        uid = subject_uid or (job_id if archive else f"2.25.{uuid4().int}")
        asked = JobRequestedV1(
            job_id=job_id,
            use_case="qct",
            use_case_version=1,
            title="Chest CT",
            scope=Scope.ARCHIVE if archive else Scope.SERIES,
            study_instance_uid="" if archive else "2.25.1",
            series_instance_uids=() if archive else (uid,),
            subject_uid=uid,
            revision=revision,
            priority=priority,
            tasks=tasks or (TaskSpec(id="a", machine="m"),),
            archive=archive,
        )
        await self.tell(topology.JOB_REQUESTED, asked, institution=institution)
        await eventually(lambda: self.documents["jobs"].find_one({"_id": job_id}))
        return job_id

    async def tell(self, fact: topology.Fact, data: Payload, *, institution: str | None = None) -> None:
        """Tell a fact."""
        await self.bus.publish(
            Teller("test").tell(fact, data, subject="x", institution=institution or self.institution)
        )

    async def announce(self, slots: int, *, busy: int = 0) -> None:
        """Tell the scheduler of this worker's slots and wait until it knows."""
        heartbeat = facts.WorkerHeartbeatV1(worker=self.worker, pool=self.pool, slots=slots, busy=busy)
        await self.tell(topology.WORKER_HEARTBEAT, heartbeat)
        await eventually(lambda: self.documents["workers"].find_one({"_id": self.worker, "slots": slots}))

    async def order(self) -> RunTaskV1:
        """Take the next order."""
        return await asyncio.wait_for(self.orders.get(), TIMEOUT_S)

    async def lease(self, order: RunTaskV1, *, lasts_s: float) -> None:
        """Claim an order's lease."""
        values: Document = {**order.model_dump(include={"job_id", "task_id", "attempt"}), "worker": self.worker}
        literal = {name: {"$literal": value} for name, value in values.items()}
        await self.documents["leases"].update(
            {"_id": f"{order.job_id}/{order.task_id}"},
            [{"$set": {**literal, "released": False, "until": after(lasts_s)}}],
            upsert=True,
        )

    async def give_back(self, order: RunTaskV1) -> None:
        """Give an order's lease up."""
        await self.documents["leases"].update(
            {"_id": f"{order.job_id}/{order.task_id}"}, [{"$set": {"released": True, "until": NOW}}]
        )

    async def start(self, order: RunTaskV1) -> None:
        """Say that an order runs."""
        await self.tell(topology.TASK_STARTED, facts.TaskStartedV1(**_what(order), worker=self.worker))

    async def succeed(self, order: RunTaskV1) -> str:
        """Say that an order has succeeded; return the outcome's id."""
        outcome = f"{order.job_id}/{order.task_id}/{order.attempt}"
        fact = facts.TaskSucceededV1(**_what(order), worker=self.worker, outcome_id=outcome)
        await self.tell(topology.TASK_SUCCEEDED, fact)
        return outcome

    async def fail(self, order: RunTaskV1, *, again: bool = True) -> None:
        """Say that an order has failed."""
        fact = facts.TaskFailedV1(**_what(order), worker=self.worker, reason="no memory", again=again)
        await self.tell(topology.TASK_FAILED, fact)

    async def job(self, job_id: str) -> Document:
        """Read a job's record."""
        found = await self.documents["jobs"].find_one({"_id": job_id})
        assert found is not None
        return found

    async def task(self, job_id: str, task_id: str = "a") -> Document:
        """Read a task's record."""
        return next(task for task in (await self.job(job_id))["tasks"] if task["id"] == task_id)

    async def until_task(self, job_id: str, state: str, task_id: str = "a", *, attempt: int | None = None) -> Document:
        """Wait until a task is in a state."""

        async def reached() -> Document | None:
            task = await self.task(job_id, task_id)
            return task if task["state"] == state and attempt in {None, task["attempt"]} else None

        return await eventually(reached)

    async def until_job(self, job_id: str, state: str) -> Document:
        """Wait until a job is in a state and the fact of its end, if it has one, has come."""
        await eventually(lambda: self.documents["jobs"].find_one({"_id": job_id, "state": state}))
        told: dict[str, dict[str, Any]] = {"completed": self.completed, "failed": self.failed, "cancelled": self.failed}
        await eventually(lambda: _later(job_id in told[state]))
        return await self.job(job_id)


@asynccontextmanager
async def scripted(settings: SchedulerSettings, institution: str, pool: str) -> AsyncIterator[Scripted]:
    """Connect a scripted worker."""
    bus = Bus(settings, pools=[pool])
    script = Scripted(institution, pool, bus, Documents(settings.documents))

    async def take(event: Event[RunTaskV1]) -> None:
        script.orders.put_nowait(event.data)

    async def note_completed(event: Event[JobCompletedV1]) -> None:
        script.completed[event.data.job_id] = event.data
        script.told.append(event)

    async def note_failed(event: Event[JobFailedV1]) -> None:
        script.failed[event.data.job_id] = event.data
        script.told.append(event)

    async def note_retried(event: Event[JobRetriedV1]) -> None:
        script.told.append(event)

    bus.subscribe(topology.pool_queue(pool), RunTaskV1, take)
    bus.subscribe(topology.RESULTS_JOB_COMPLETED, JobCompletedV1, note_completed)
    bus.subscribe(topology.RESULTS_JOB_FAILED, JobFailedV1, note_failed)
    bus.subscribe(topology.RESULTS_JOB_RETRIED, JobRetriedV1, note_retried)
    await bus.start()
    try:
        yield script
    finally:
        await bus.stop_consuming()
        await bus.stop()
        script.documents.close()


async def eventually(look: Callable[[], Awaitable[Any]], *, timeout_s: float = TIMEOUT_S) -> Any:
    """Look until there is something, with a deadline."""
    async with asyncio.timeout(timeout_s):
        while not (found := await look()):
            await asyncio.sleep(0.02)
    return found


def seconds_between(earlier: datetime, later: datetime) -> float:
    """Return the time between two moments."""
    return (later - earlier).total_seconds()


async def _later(value: object) -> object:
    return value


def _what(order: RunTaskV1) -> dict[str, Any]:
    return order.model_dump(include={"job_id", "task_id", "attempt"})
