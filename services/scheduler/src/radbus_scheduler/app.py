"""The scheduler put together."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, FastAPI
from radbus_contracts import facts, topology
from radbus_machines.manifest import load_manifests
from radbus_runtime.auth.authenticator import Authenticator
from radbus_runtime.bus import Bus
from radbus_runtime.events import Teller
from radbus_runtime.http import create_api
from radbus_runtime.outbox import OutboxRelay
from radbus_runtime.service import Service
from radbus_storage import records
from radbus_storage.documents import Documents

from radbus_scheduler.adapters import metrics
from radbus_scheduler.adapters.jobs import JOB_INDEXES, Jobs
from radbus_scheduler.adapters.leases import Leases
from radbus_scheduler.adapters.queues import TaskQueues
from radbus_scheduler.adapters.turns import DispatchTurn
from radbus_scheduler.adapters.workers import WORKER_INDEXES, Workers
from radbus_scheduler.handlers.dispatcher import Dispatcher, DispatchRules, Nudge
from radbus_scheduler.handlers.gauges import Gauges
from radbus_scheduler.handlers.ledger import Ledger
from radbus_scheduler.handlers.reaper import IdlePools, Reaper
from radbus_scheduler.handlers.requests import JobRequests
from radbus_scheduler.handlers.routes import job_routes
from radbus_scheduler.handlers.task_facts import TaskFacts
from radbus_scheduler.settings import SchedulerSettings


def create_app(settings: SchedulerSettings) -> Service:
    """Wire the scheduler."""
    machines = load_manifests(settings.machines_dir)
    pools = sorted({machine.pool for machine in machines.values()})
    metrics.expect_losses(machines.values(), settings.limits)
    documents = Documents(settings.documents)
    bus = Bus(settings, pools=pools)

    jobs = Jobs(documents[records.JOBS])
    queues = TaskQueues(jobs.collection)
    workers = Workers(documents[records.WORKERS], silent_s=settings.worker_silent_s)
    leases = Leases(documents[records.LEASES], documents[records.OUTCOMES])
    relay = OutboxRelay(bus, [jobs.collection])
    nudge = Nudge()
    ledger = Ledger(jobs, relay, Teller("scheduler"), on_change=nudge.give)

    requests = JobRequests(documents, jobs, leases, ledger, machines=machines, wait_s=settings.job_wait_s)
    _subscribe(bus, requests, TaskFacts(ledger, workers, backoff=settings.backoff))
    rules = DispatchRules(settings.policy, settings.look_ahead, settings.dispatch_every_s, settings.job_deadline_s)
    turn = DispatchTurn(documents[records.TURNS])
    dispatcher = Dispatcher(documents, queues, workers, turn, ledger, rules=rules, nudge=nudge)
    reaper = Reaper(
        documents,
        jobs,
        queues,
        leases,
        IdlePools(workers),
        ledger,
        limits=settings.limits,
        backoff=settings.backoff,
    )
    gauges = Gauges(documents, queues, workers, pools=pools)
    return Service(
        name="scheduler",
        settings=settings,
        api=_api(job_routes(jobs, ledger, requests, Authenticator(documents, settings).requires)),
        bus=bus,
        documents=documents,
        indexes=[(jobs.collection, JOB_INDEXES), (documents[records.WORKERS], WORKER_INDEXES)],
        loops=[
            relay.run,
            dispatcher.run,
            partial(reaper.run, settings.reap_every_s),
            partial(gauges.run, settings.count_every_s),
        ],
    )


def _subscribe(bus: Bus, requests: JobRequests, tasks: TaskFacts) -> None:
    bus.subscribe(topology.SCHEDULER_JOB_REQUESTED, facts.JobRequestedV1, requests.on_job_requested)
    bus.subscribe(topology.SCHEDULER_JOB_CANCEL_REQUESTED, facts.JobCancelRequestedV1, requests.on_cancel_requested)
    bus.subscribe(topology.SCHEDULER_WORKER_HEARTBEAT, facts.WorkerHeartbeatV1, tasks.on_heartbeat)
    bus.subscribe(topology.SCHEDULER_TASK_STARTED, facts.TaskStartedV1, tasks.on_started)
    bus.subscribe(topology.SCHEDULER_TASK_PROGRESSED, facts.TaskProgressedV1, tasks.on_progressed)
    bus.subscribe(topology.SCHEDULER_TASK_SUCCEEDED, facts.TaskSucceededV1, tasks.on_succeeded)
    bus.subscribe(topology.SCHEDULER_TASK_FAILED, facts.TaskFailedV1, tasks.on_failed)


def _api(routes: APIRouter) -> FastAPI:
    api = create_api("scheduler", description="Turns a job into tasks in order and gives them to workers.")
    api.include_router(routes)
    return api
