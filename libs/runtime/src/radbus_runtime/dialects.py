"""Errors as answers in the words of the contract that a route belongs to; nothing is shared between contracts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from radbus_contracts.errors import PermanentError, RadbusError, TransientError

from radbus_runtime.auth.principal import ForbiddenError, RateLimitedError, UnauthenticatedError
from radbus_runtime.overload import OverloadedError

log = structlog.get_logger(__name__)

RETRY_AFTER_S: Final = 5
_UNEXPECTED: Final = "The server encountered an internal error."
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class InnerEyeFault:
    """One row of the table of errors of the inferencing API that InnerEye's clients know."""

    status: int
    code: str
    title: str
    detail: str

    def answer(self, extra_details: str | None = None, *, retry_after_s: int | None = None) -> JSONResponse:
        """Make the answer; `extra_details` is there only where it is named."""
        body = {"code": self.code, "detail": self.detail, "status": self.status, "title": self.title}
        wait_s = RETRY_AFTER_S if self.status == 503 and retry_after_s is None else retry_after_s
        headers = {"Retry-After": str(wait_s)} if wait_s is not None else None
        more = {"extra_details": extra_details} if extra_details is not None else {}
        return JSONResponse({**body, **more}, status_code=self.status, headers=headers)


_AUTHENTICATE: Final = (
    "Server failed to authenticate the request. Make sure the value of the API_AUTH_SECRET header is "
)
INVALID_INPUT: Final = InnerEyeFault(400, "BAD_REQUEST", "InvalidInput", "Input file is not in correct format.")
NO_AUTHENTICATION: Final = InnerEyeFault(
    401, "UNAUTHORIZED", "NoAuthenticationInformation", f"{_AUTHENTICATE}populated."
)
AUTHENTICATION_FAILED: Final = InnerEyeFault(403, "FORBIDDEN", "AuthenticationFailed", f"{_AUTHENTICATE}correct.")
NOT_FOUND: Final = InnerEyeFault(404, "NOT_FOUND", "ResourceNotFound", "The specified resource does not exist.")
GONE: Final = InnerEyeFault(410, "GONE", "ResourceErased", "The result of this run was erased: it is kept no longer.")
INTERNAL_ERROR: Final = InnerEyeFault(
    500,
    "INTERNAL_SERVER_ERROR",
    "InternalError",
    "The server encountered an internal error. Please retry the request.",
)
UNAVAILABLE: Final = InnerEyeFault(
    503, "SERVICE_UNAVAILABLE", "ServiceUnavailable", "A store is away. Please retry the request."
)
OVERLOADED: Final = InnerEyeFault(
    503, "SERVICE_UNAVAILABLE", "ServiceBusy", "Too much is waiting. Please retry the request later."
)
TOO_MANY_REQUESTS: Final = InnerEyeFault(
    429, "TOO_MANY_REQUESTS", "TooManyRequests", "Too many requests. Please retry the request later."
)


class InnerEyeError(PermanentError):
    """A fault that a handler names."""

    def __init__(self, fault: InnerEyeFault, extra_details: str | None = None) -> None:
        super().__init__(fault.detail)
        self.fault = fault
        self.extra_details = extra_details


class InnerEyeRoute(APIRoute):
    """A route of the inferencing API: its errors are those that InnerEye's clients know."""

    def get_route_handler(self) -> _Handler:
        """Wrap the handler."""
        inner = super().get_route_handler()

        async def answer(request: Request) -> Response:  # noqa: PLR0911 - one for each row of the table
            try:
                return await inner(request)
            except InnerEyeError as error:
                return error.fault.answer(error.extra_details)
            except UnauthenticatedError:
                return NO_AUTHENTICATION.answer()
            except ForbiddenError:
                return AUTHENTICATION_FAILED.answer()
            except RequestValidationError:
                return NOT_FOUND.answer()
            except RateLimitedError as error:
                return TOO_MANY_REQUESTS.answer(retry_after_s=error.retry_after_s)
            except OverloadedError as error:
                return OVERLOADED.answer(retry_after_s=error.retry_after_s)
            except TransientError:
                return UNAVAILABLE.answer()
            except PermanentError as error:
                log.warning("request.refused", exc_info=error)
                return INTERNAL_ERROR.answer()

        return answer


class DetailRoute(APIRoute):
    """A route of the inference API: its errors are `{"detail": "..."}`."""

    def get_route_handler(self) -> _Handler:
        """Wrap the handler."""
        inner = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await inner(request)
            except (RadbusError, RequestValidationError, HTTPException) as error:
                return _detail(error)

        return answer


def unexpected(request: Request) -> JSONResponse:
    """Answer for what nobody expected, in the words of the route's contract, and with nothing of what happened."""
    match request.scope.get("route"):
        case InnerEyeRoute():
            return INTERNAL_ERROR.answer()
        case DetailRoute():
            return JSONResponse({"detail": _UNEXPECTED}, status_code=500)
        case _:
            return JSONResponse({"success": False, "message": _UNEXPECTED}, status_code=500)


async def unavailable(request: Request, error: TransientError) -> Response:
    """Answer for a store that is away, in the words of the route's contract, where no handler can do it any more."""
    match request.scope.get("route"):
        case InnerEyeRoute():
            return UNAVAILABLE.answer()
        case DetailRoute():
            return _detail(error)
        case _:
            answer: Response = await request.app.exception_handlers[TransientError](request, error)
            return answer


def _detail(error: RadbusError | RequestValidationError | HTTPException) -> JSONResponse:
    status, text, headers = 400, str(error), None
    match error:
        case UnauthenticatedError():
            status, headers = 401, {"WWW-Authenticate": "Bearer"}
        case ForbiddenError():
            status = 403
        case RequestValidationError():
            status, text = 422, "expected a request of the documented form"
        case HTTPException():
            status, text = error.status_code, str(error.detail)
        case RateLimitedError():
            status, headers = 429, {"Retry-After": str(error.retry_after_s)}
        case OverloadedError():
            status, headers = 503, {"Retry-After": str(error.retry_after_s)}
        case TransientError():
            status, text, headers = 503, "A store is away; please try again.", {"Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse({"detail": text}, status_code=status, headers=headers)
