"""How radbus's own services start on one machine, each a process with a port of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from radbus_cli.local import readiness
from radbus_cli.local.layout import HOST, SINGLE_SERVICES, Layout, replica_names
from radbus_cli.local.programs import Phase, Program

_DRAIN_S = 15


def services(layout: Layout, environment: Mapping[str, str], *, workers: int, replicas: int) -> tuple[Program, ...]:
    """Describe every replica of the four services, and the workers."""
    singles = (name for service in SINGLE_SERVICES for name in replica_names(service, replicas))
    names = (*singles, *(f"worker-{number}" for number in range(workers)))
    return tuple(_service(layout, name, environment) for name in names)


def _service(layout: Layout, name: str, environment: Mapping[str, str]) -> Program:
    port = layout.port(name)
    own = {
        "RADBUS_HTTP_HOST": HOST,
        "RADBUS_HTTP_PORT": str(port),
        "RADBUS_DRAIN_S": str(_DRAIN_S),
        "PYTHONUNBUFFERED": "1",
    }
    return Program(
        name=name,
        phase=Phase.SERVICE,
        command=(str(Path(sys.prefix) / "bin" / "python"), "-m", f"radbus_{name.split('-', maxsplit=1)[0]}"),
        ports=(port,),
        folder=layout.folder(name),
        is_ready=partial(readiness.http_answers_ok, port, "/readyz"),
        environment={**environment, **own},
        stop_wait_s=_DRAIN_S + 10,
    )
