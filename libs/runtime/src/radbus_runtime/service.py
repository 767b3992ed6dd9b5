"""Running a service: HTTP, bus and loops in one event loop, with an orderly end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from radbus_contracts.errors import RadbusError, TransientError
from radbus_storage.documents import Collection, Documents, Index
from radbus_storage.objects import ObjectStore
from starlette.types import ASGIApp

from radbus_runtime.audit.codes import START, STOP
from radbus_runtime.audit.middleware import audited
from radbus_runtime.audit.trail import AUDIT_INDEXES, AuditTrail
from radbus_runtime.bus import Bus
from radbus_runtime.hanging import END_S, end_within, watched
from radbus_runtime.health import Check, answers, health_routes, look
from radbus_runtime.http_protocol import BoundedHttpProtocol
from radbus_runtime.logs import configure_logs
from radbus_runtime.progress import Pulses, beat
from radbus_runtime.settings import ServiceSettings, load
from radbus_runtime.tracing import configure_traces

log = structlog.get_logger(__name__)

_STOP_RECORDED_WITHIN_S = 3.0

Loop = Callable[[], Awaitable[None]]
S = TypeVar("S", bound=ServiceSettings)

_LOOK_EVERY_S = 10.0


@dataclass(slots=True)
class Service:
    """All that a service is made of; `create_app` of each service returns one."""

    name: str
    settings: ServiceSettings
    api: FastAPI
    bus: Bus
    documents: Documents
    objects: ObjectStore | None = None
    indexes: Sequence[tuple[Collection, Sequence[Index]]] = ()
    loops: Sequence[Loop] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    notes: Mapping[str, Check] = field(default_factory=dict)
    drain: Sequence[Loop] = ()
    _started: bool = False
    _trail: AuditTrail = field(init=False)
    _pulses: Pulses = field(default_factory=Pulses)

    def __post_init__(self) -> None:
        """Add the audit trail and the health routes."""
        self._trail = AuditTrail(self.documents, self.name)
        self.api.user_middleware.append(audited(self._trail))
        own: dict[str, Check] = {
            "started": self._check_started,
            "rabbitmq": self.bus.check,
            "mongodb": answers(self.documents.ping),
            "loops": self._pulses.check,
        }
        if self.objects is not None:
            own["objects"] = answers(self.objects.ping)
        self.checks = {**own, **self.checks}
        self.api.include_router(health_routes(self.name, self.checks, self.notes))

    async def run(self) -> None:
        """Serve until SIGTERM, then drain; a loop that fails ends the service, whose supervisor starts it again."""
        await run_together([self], self.api, self.settings)

    async def work(self) -> None:
        """Get the stores ready, then hear messages and run the loops until cancelled."""
        await self._prepare_stores()
        await self.bus.start()
        self._started = True
        log.info("service.started", port=self.settings.http_port)
        self._pulses.listen()
        async with asyncio.TaskGroup() as loops:
            for loop in (self.bus.keep_declared, self._trail.run, self._keep_looking, *self.loops):
                loops.create_task(_run(loop))

    async def end(self, work: asyncio.Task[None]) -> None:
        """Hear no more, let what is under way end, and close everything; what a drain raises is raised after that."""
        self._started = False
        await self.bus.stop_consuming()
        faults = [fault for drain in self.drain if (fault := await _fault(drain)) is not None]
        work.cancel()
        await asyncio.wait([work], timeout=5)
        await self.bus.stop()
        await self._record_stop()
        self.documents.close()
        if self.objects is not None:
            self.objects.close()
        log.info("service.stopped")
        if faults:
            raise ExceptionGroup("not drained", faults)

    async def _keep_looking(self) -> None:
        """Look at the own checks also when nobody asks: the metrics tell, and a model that has died is loaded anew."""
        while True:
            beat("checks")
            await look(self.name, self.checks)
            await self.bus.count_messages()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _prepare_stores(self) -> None:
        deadline = asyncio.get_running_loop().time() + self.settings.start_s
        while True:
            try:
                if self.objects is not None:
                    await self.objects.ensure_bucket()
                for collection, indexes in (*self.indexes, (self._trail.collection, AUDIT_INDEXES)):
                    await collection.ensure_indexes(indexes)
                await self._trail.record_service(START)
            except TransientError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.info("stores.waited", exc_info=error)
                await asyncio.sleep(1)
            else:
                return

    async def _record_stop(self) -> None:
        try:
            async with asyncio.timeout(_STOP_RECORDED_WITHIN_S):
                await self._trail.close()
                await self._trail.record_service(STOP)
        except (TransientError, TimeoutError) as error:
            log.warning("audit.stop_not_recorded", exc_info=error)

    async def _check_started(self) -> str | None:
        return None if self._started else "starting or stopping"


async def _run(loop: Loop) -> None:
    await loop()


async def _fault(drain: Loop) -> Exception | None:
    try:
        await drain()
    except Exception as error:  # noqa: BLE001 - it is raised when everything is closed
        return error
    return None


async def run_together(services: Sequence[Service], api: ASGIApp, settings: ServiceSettings) -> None:
    """Serve `api` and do the work of all `services` until SIGTERM, then end them in their order.

    A loop of any of them that fails ends all.
    """
    config = uvicorn.Config(
        api,
        host=settings.http_host,
        port=settings.http_port,
        http=cast("type[BoundedHttpProtocol]", partial(BoundedHttpProtocol, head_s=settings.http_head_s)),
        ws="none",
        log_config=None,
        access_log=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=max(1, int(settings.drain_s)),
        timeout_keep_alive=30,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes these while it serves and raises them once more at its end, when there is still work to end.
        signal.signal(number, lambda *_: None)
    async with asyncio.TaskGroup() as group:
        work = [group.create_task(service.work()) for service in services]
        await uvicorn.Server(config).serve()
        for service, its_work in zip(services, work, strict=True):
            await service.end(its_work)


def main(name: str, kind: type[S], create_app: Callable[[S], Service]) -> None:
    """Start a service from its environment; the `__main__` of each calls this."""
    start(name, kind, lambda settings: create_app(settings).run())


def start(name: str, kind: type[S], compose: Callable[[S], Coroutine[Any, Any, None]]) -> None:
    """Read the settings, set up logs and traces, and run what `compose` makes until it ends."""
    try:
        settings = load(kind)
        configure_logs(service=name, level=settings.log_level)
        configure_traces(service=name, target=settings.traces)
        running = compose(settings)
    except RadbusError as error:
        sys.exit(f"{name}: {error}")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(watched(running, hang_s=settings.hang_s))
    except* Exception as group:
        log.critical("service.gave_up", exc_info=group)
        sys.exit(1)
    finally:
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            provider.shutdown()
        end_within(END_S, code=1)  # the interpreter waits for every thread of a pool, also for one that hangs
