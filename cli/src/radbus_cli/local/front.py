"""How nginx starts in front of the services: one address for all of them, by the route table."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from string import Template

from radbus_contracts.routes import ROUTES, Route, ServiceName

from radbus_cli import refusals
from radbus_cli.local import readiness
from radbus_cli.local.errors import ServerMissingError
from radbus_cli.local.layout import HOST, Layout, replica_names
from radbus_cli.local.programs import Phase, Program

# uvicorn closes a connection that has been idle for 30 s; one must not be used in that moment.
_KEEPALIVE = "keepalive 32; keepalive_timeout 20s;"


class _Template(Template):
    """A template in which `$` is nginx's own."""

    delimiter = "%"


def front(layout: Layout) -> Program:
    """Describe nginx, in this stack's folder and as this user."""
    folder, port = layout.folder("front"), layout.port("front")
    return Program(
        name="front",
        phase=Phase.FRONT,
        command=(_nginx(), "-p", str(folder), "-e", "stderr", "-c", str(_configuration_file(layout))),
        ports=(port,),
        folder=folder,
        is_ready=partial(readiness.http_answers_ok, port, "/healthz"),
    )


def write_front_files(layout: Layout, *, replicas: int = 1) -> bool:
    """Write nginx's configuration and make the folders that it wants; say whether it is another than before."""
    (layout.folder("front") / "temporary").mkdir(parents=True, exist_ok=True)
    file, text = _configuration_file(layout), configuration(layout, replicas=replicas)
    if file.exists() and file.read_text() == text:
        return False
    file.write_text(text)
    return True


def configuration(layout: Layout, *, replicas: int = 1) -> str:
    """Write nginx's configuration from the route table, for one machine."""
    servers = {name: [f"{HOST}:{layout.port(each)}" for each in replica_names(name, replicas)] for name in ServiceName}
    return _written(
        servers, host=HOST, port=layout.port("front"), processes="master_process off;", client="$remote_addr"
    )


def container_configuration(port: int) -> str:
    """Write it for a container beside the services' containers, which are known by their names.

    What stands before it there, and ends TLS, is believed in what it says of the client.
    """
    servers = {name: [f"{name}:{port}"] for name in ServiceName}
    return _written(
        servers,
        host="0.0.0.0",  # noqa: S104 - of a container
        port=port,
        processes="worker_processes 1;",
        client="$proxy_add_x_forwarded_for",
    )


def _written(servers: Mapping[ServiceName, Sequence[str]], *, host: str, port: int, processes: str, client: str) -> str:
    template = _Template(Path(__file__).with_name("front.conf").read_text())
    believed = client != "$remote_addr"
    return template.substitute(
        host=host,
        port=port,
        processes=processes,
        client=client,
        scheme="$radbus_forwarded_scheme" if believed else "$scheme",
        maps=_maps(),
        upstreams=_upstreams(servers),
        no_such_path=refusals.refusal(refusals.NO_SUCH_PATH),
        no_such_method=refusals.refusal(refusals.NO_SUCH_METHOD),
        malformed=refusals.refusal(refusals.MALFORMED),
        away=refusals.refusal(refusals.AWAY),
        retry_after_s=refusals.RETRY_AFTER_S,
    )


def _maps() -> str:
    methods: dict[str, list[str]] = {}
    for route in ROUTES:
        methods.setdefault(route.pattern, []).extend(route.methods or ("any",))
    asked = [(method, route) for route in ROUTES for method in route.methods or ("",)]
    return "".join(
        (
            _map("$radbus_path", "$radbus_methods", {f"~{path}": ", ".join(each) for path, each in methods.items()}),
            _map(
                '"$request_method $radbus_path"',
                "$radbus_route",
                {_asked(method, route): f"{method or 'any'} {route.path}" for method, route in asked},
            ),
            _map(
                "$radbus_route",
                "$radbus_service",
                {f"{method or 'any'} {route.path}": route.service for method, route in asked},
            ),
        )
    )


def _asked(method: str, route: Route) -> str:
    # Always a regular expression: nginx compares plain strings without regard to case.
    return f"~^{method or '[A-Z]+'} {route.pattern[1:]}"


def _map(of: str, to: str, pairs: Mapping[str, str]) -> str:
    lines = (f'        "{key}" "{value}";' for key, value in pairs.items())
    return _block(f"map {of} {to}", ['        default "";', *lines])


def _upstreams(servers: Mapping[ServiceName, Sequence[str]]) -> str:
    return "".join(
        _block(
            f"upstream {name}",
            [*(f"        server {server} max_fails=0;" for server in of_it), f"        {_KEEPALIVE}"],
        )
        for name, of_it in servers.items()
    )


def _block(head: str, lines: Iterable[str]) -> str:
    return "\n".join((f"    {head} {{", *lines, "    }\n"))


def _configuration_file(layout: Layout) -> Path:
    return layout.folder("front") / "nginx.conf"


def _nginx() -> str:
    """Find nginx on the PATH, else where Debian puts it."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        raise ServerMissingError("nginx was not found: run `make install`.")
    return found
