"""Recording each request that shows credentials before its answer is sent: no route has to think of it."""

from __future__ import annotations

from typing import Final

from radbus_contracts.errors import TransientError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from radbus_runtime.audit.access import Access, begin_access
from radbus_runtime.audit.codes import ObjectKind
from radbus_runtime.audit.events import UNKNOWN, Asked
from radbus_runtime.audit.trail import AuditTrail
from radbus_runtime.dialects import unavailable
from radbus_runtime.http import id_for_log

PATH_OBJECTS: Final = {
    "study_instance_uid": ObjectKind.STUDY,
    "uid": ObjectKind.UID,
    "inference_id": ObjectKind.INFERENCE,
    "job_id": ObjectKind.JOB,
    "run_id": ObjectKind.RUN,
    "segmentation_id": ObjectKind.RUN,
}
"""Which parameters in paths name what was reached."""

UNNAMED: Final = frozenset({"model_id", "patient_mrn"})
"""Which do not: what is everybody's, and what must not be recorded."""


class Audited:
    """An ASGI application whose answers wait for their audit event."""

    def __init__(self, app: ASGIApp, trail: AuditTrail) -> None:
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record the request when its answer begins; without a record the answer is that a store is away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        access = begin_access()
        begun = withheld = False

        async def send_recorded(message: Message) -> None:
            nonlocal begun, withheld
            if not begun:
                begun = True
                try:
                    await self._record(scope, access, message["status"])
                except TransientError as error:
                    withheld = True
                    answer = await unavailable(Request(scope), error)
                    await answer(scope, receive, send)
            if not withheld:
                await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        finally:
            if not begun:  # it failed as nobody expected; who answers for that is farther out
                await self._record(scope, access, 500)

    async def _record(self, scope: Scope, access: Access, status: int) -> None:
        if access.kind is None:
            return
        named = {uid for _, uid in access.objects}
        for name, value in scope.get("path_params", {}).items():
            if name in PATH_OBJECTS and value not in named and id_for_log(value) == value:
                access.about(PATH_OBJECTS[name], [value])
        client = scope.get("client")
        route = getattr(scope.get("route"), "path", UNKNOWN)
        asked = Asked(scope["method"], route, status, client[0] if client else None)
        await self._trail.record_access(access, asked)


def audited(trail: AuditTrail) -> Middleware:
    """Make the middleware that is to be the innermost, so that its events are in the request's trace."""
    return Middleware(Audited, trail=trail)
