"""`radbus serve --all`: every service and one worker in one process, behind one port."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer
from radbus_contracts.errors import PermanentError

if TYPE_CHECKING:
    from radbus_runtime.service import Service
    from radbus_runtime.settings import ServiceSettings

NAME = "radbus"


class NothingToServeError(PermanentError):
    """It was not said what to serve."""


def serve(
    *,
    everything: Annotated[bool, typer.Option("--all", help="All services and one worker, in this process.")] = False,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; RADBUS_HTTP_PORT if not given.", min=1, max=65_535)
    ] = None,
) -> None:
    """Run radbus in this process, on servers that the environment names, until SIGTERM."""
    if not everything:
        raise NothingToServeError("expected --all; a single service is `python -m radbus_<service>`")
    from radbus_runtime.service import start
    from radbus_runtime.settings import ServiceSettings

    def compose(settings: ServiceSettings) -> Coroutine[Any, Any, None]:
        return _all(settings if port is None else settings.model_copy(update={"http_port": port}))

    start(NAME, ServiceSettings, compose)


def _all(settings: ServiceSettings) -> Coroutine[Any, Any, None]:
    from radbus_runtime.service import run_together

    from radbus_cli.one_address import one_address

    services = _services()
    return run_together(services, one_address(services), settings)


def _services() -> list[Service]:
    """Make every service, in the order in which they end: what takes in first, what is told last."""
    from radbus_ingest.app import create_app as ingest
    from radbus_ingest.settings import IngestSettings
    from radbus_results.app import create_app as results
    from radbus_results.settings import ResultsSettings
    from radbus_router.app import create_app as router
    from radbus_router.settings import RouterSettings
    from radbus_runtime.settings import load
    from radbus_scheduler.app import create_app as scheduler
    from radbus_scheduler.settings import SchedulerSettings
    from radbus_worker.app import create_app as worker
    from radbus_worker.settings import WorkerSettings

    return [
        ingest(load(IngestSettings)),
        router(load(RouterSettings)),
        worker(load(WorkerSettings)),
        scheduler(load(SchedulerSettings)),
        results(load(ResultsSettings)),
    ]
