"""A service's HTTP face: the application, and errors as answers in the dialect of the results API."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Final

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import SpanKind
from radbus_contracts.errors import PermanentError, TransientError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from radbus_runtime import metrics
from radbus_runtime.auth.principal import ForbiddenError, RateLimitedError, UnauthenticatedError
from radbus_runtime.dialects import RETRY_AFTER_S, unexpected
from radbus_runtime.overload import OverloadedError
from radbus_runtime.tracing import continued

JSON_BODY_LIMIT_BYTES: Final = 8 * 1024 * 1024
_REQUESTS_AT_A_TIME: Final = 1000  # each holds a little memory: the last bound, below which others have their own
_BODY_S: Final = 30.0
_FAULTS_SHOWN: Final = 20
_DIGITS: Final = 30  # more than any limit has, fewer than Python refuses to read
_ID: Final = re.compile(r"(?=.{1,64}$)\d+(\.\d+)+|\d{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OF_A_REQUEST: Final = frozenset({"type", "path", "root_path", "headers", "query_string", "app"})
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})


def create_api(
    name: str,
    *,
    description: str,
    body_limit_bytes: int | None = JSON_BODY_LIMIT_BYTES,
    requests_at_a_time: int = _REQUESTS_AT_A_TIME,
) -> FastAPI:
    """Make a FastAPI application with traces, a limit of bodies, and the answers to errors that all routes share.

    Beyond so many requests at a time the next ones are refused: 503.

    A route that takes a model as its body has read it whole before the token is looked at, hence the limit; a service
    that streams its bodies and counts them itself has none.
    """
    # FastAPI's own telemetry would record addresses, queries and the texts of exceptions.
    off: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    api = FastAPI(title=f"radbus {name}", description=description, version="0.1.0", telemetry=off)
    api.add_exception_handler(UnauthenticatedError, _unauthenticated)
    api.add_exception_handler(ForbiddenError, _forbidden)
    api.add_exception_handler(RateLimitedError, _rate_limited)
    api.add_exception_handler(TransientError, _unavailable)
    api.add_exception_handler(OverloadedError, _overloaded)
    api.add_exception_handler(PermanentError, _refused)
    api.add_exception_handler(RequestValidationError, _not_of_its_form)
    api.add_exception_handler(StarletteHTTPException, _refused_by_the_framework)
    # What it answers for is raised again, for the server to log.
    api.add_exception_handler(Exception, _failed)
    if body_limit_bytes is not None:
        api.add_middleware(_BoundedBody, limit_bytes=body_limit_bytes)
    api.add_middleware(_Crowd, limit=requests_at_a_time)
    api.add_middleware(_Traced, service=name)
    return api


def declared_bytes(headers: Headers) -> int:
    """Read how long a body says that it is; 0 when it does not say so in a number, and what comes is to be counted."""
    given = headers.get("content-length", "").lstrip("0")
    return int(given[:_DIGITS]) if given.isascii() and given.isdecimal() else 0


def id_for_log(given: str) -> str:
    """Return a UID or an id as it is, and `other` for the rest: what a client asks for may be a patient's name."""
    return given if _ID.fullmatch(given) else "other"


class _Traced:
    """Runs each request in a span of its own, and times it (plain ASGI, so that bodies stream through untouched)."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0
        with continued(
            f"HTTP {scope['method']}", Headers(scope=scope).get("traceparent"), kind=SpanKind.SERVER
        ) as span:

            async def send_with_trace(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message)["x-trace-id"] = f"{span.get_span_context().trace_id:032x}"
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                await send(message)

            try:
                await self._app(scope, receive, send_with_trace)
            finally:
                method = scope["method"] if scope["method"] in _METHODS else "other"
                route = getattr(scope.get("route"), "path", "unknown")
                span.update_name(f"{method} {route}")
                if status:  # who went away before the answer has none
                    took_s = time.monotonic() - started
                    metrics.http_seconds.labels(self._service, method, route, str(status)).observe(took_s)


class _Crowd:
    """Refuses what is more than so many requests at a time; who asks for health is always answered."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        if self._inside >= self._limit:
            metrics.requests_crowded_out.inc()
            refusal = _overload("too many requests are being answered", RETRY_AFTER_S)
            await refusal(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1


class _BoundedBody:
    """Refuses a body that is late, or above a limit before it is in memory, whether its length is declared or not."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        text = f"expected a body of at most {self._limit_bytes} bytes"
        if declared_bytes(Headers(scope=scope)) > self._limit_bytes:
            refusal = JSONResponse({"success": False, "message": text}, status_code=413)
            await refusal(scope, receive, send)
            return
        taken_bytes, is_whole, finish_by = 0, False, float("inf")

        async def bounded_receive() -> Message:
            nonlocal taken_bytes, is_whole, finish_by
            if is_whole:
                return await receive()
            finish_by = min(finish_by, time.monotonic() + _BODY_S)  # from when somebody reads it
            try:
                async with asyncio.timeout(finish_by - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"expected the whole body within {_BODY_S:g} s") from None
            is_whole = not message.get("more_body", False)
            taken_bytes += len(message.get("body", b""))
            if taken_bytes > self._limit_bytes:
                raise HTTPException(413, text)
            return message

        await self._app(scope, bounded_receive, send)


async def _not_of_its_form(_: Request, error: Exception) -> Response:
    """Say which parameters are wrong and what was expected, never what was given: that may be a header's values."""
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    told = [(".".join(map(str, fault["loc"][1:6])), str(fault["msg"])) for fault in faults[:_FAULTS_SHOWN]]
    message = "; ".join(f"{where}: {what}" if where else what for where, what in told)
    # In ASCII: what clients name their keys need not be encodable.
    return Response(json.dumps({"success": False, "message": message}), 422, media_type="application/json")


async def _refused(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"success": False, "message": str(error)}, status_code=400)


async def _refused_by_the_framework(request: Request, error: Exception) -> JSONResponse:
    """Answer for an address or a method that is not there, a body that is too large or cannot be parsed."""
    status, told, headers = 500, "", dict[str, str]()
    if isinstance(error, StarletteHTTPException):
        status, told, headers = error.status_code, str(error.detail), dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return JSONResponse({"success": False, "message": told}, status_code=status, headers=headers)


async def _failed(request: Request, _: Exception) -> JSONResponse:
    return unexpected(request)


def _methods(request: Request) -> list[str]:
    """Find all methods of an address: each may be a route of its own, and the framework names those of one."""
    scope = {name: value for name, value in request.scope.items() if name in _OF_A_REQUEST}
    routes = request.app.routes
    return [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]


async def _unauthenticated(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse(
        {"message": str(error), "authenticated": False}, status_code=401, headers={"WWW-Authenticate": "Bearer"}
    )


async def _forbidden(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"success": False, "message": "Access denied!"}, status_code=403)


async def _rate_limited(_: Request, error: Exception) -> JSONResponse:
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, RateLimitedError) else None
    return JSONResponse({"success": False, "message": str(error)}, status_code=429, headers=headers)


async def _unavailable(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse(
        {"success": False, "message": "A store or the bus is away; please try again."},
        status_code=503,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def _overloaded(_: Request, error: Exception) -> JSONResponse:
    return _overload(str(error), error.retry_after_s if isinstance(error, OverloadedError) else RETRY_AFTER_S)


def _overload(text: str, retry_after_s: int) -> JSONResponse:
    body = {"success": False, "message": f"{text}; please try again."}
    return JSONResponse(body, status_code=503, headers={"Retry-After": str(retry_after_s)})
