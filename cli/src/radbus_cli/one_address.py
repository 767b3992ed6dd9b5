"""All services behind one address in one process: a request goes to the service that the route table names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fastapi import FastAPI, Response
from radbus_contracts.routes import Route, ServiceName, routes_of
from radbus_runtime.health import health_routes
from radbus_runtime.service import Service
from starlette.types import ASGIApp, Receive, Scope, Send

from radbus_cli.refusals import NO_SUCH_METHOD, NO_SUCH_PATH, refusal

_OWN: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class OneAddress:
    """An ASGI application in front of the services' own."""

    def __init__(self, apis: Mapping[ServiceName, ASGIApp], own: ASGIApp) -> None:
        """Take the services' applications, and one for health and what is no request."""
        self._apis = apis
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in _OWN:
            await self._own(scope, receive, send)
            return
        # Not decoded: a parameter may hold a slash.
        routes = routes_of(scope["raw_path"].decode("latin-1"))
        route = next((each for each in routes if each.takes(scope["method"])), None)
        answer = _refused(routes) if route is None else self._apis[route.service]
        await answer(scope, receive, send)


def one_address(services: Sequence[Service]) -> OneAddress:
    """Put services behind one address, with the health of all of them."""
    own = FastAPI(openapi_url=None)
    checks = {f"{service.name}.{name}": check for service in services for name, check in service.checks.items()}
    notes = {f"{service.name}.{name}": note for service in services for name, note in service.notes.items()}
    own.include_router(health_routes("radbus", checks, notes))
    public = {service.name: service.api for service in services}
    return OneAddress({name: public[name] for name in ServiceName}, own)


def _refused(routes: Sequence[Route]) -> Response:
    if not routes:
        return Response(refusal(NO_SUCH_PATH), 404, media_type="application/json")
    allow = ", ".join(sorted({method for route in routes for method in route.methods}))
    return Response(refusal(NO_SUCH_METHOD), 405, {"Allow": allow}, media_type="application/json")
