"""Health over HTTP: `/healthz` says that the loop turns, `/readyz` tells the truth, `/metrics` shows and counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from radbus_contracts.errors import RadbusError

from radbus_runtime import metrics
from radbus_runtime.logs import describe

Check = Callable[[], Awaitable[str | None]]
"""Return what is wrong, or None."""

CHECK_TIMEOUT_S = 3.0


def answers(ping: Callable[[], Awaitable[None]]) -> Check:
    """Turn a ping that raises into a check."""

    async def check() -> str | None:
        try:
            await ping()
        except RadbusError as error:
            return describe(error)
        return None

    return check


async def look(service: str, checks: Mapping[str, Check]) -> dict[str, str | None]:
    """Ask all checks at once, each with a deadline; return what is wrong by name, and show it as a metric, too."""
    found = await _asked(checks)
    for name, fault in found.items():
        metrics.ready.labels(service, name).set(0 if fault else 1)
    return found


def health_routes(service: str, checks: Mapping[str, Check], notes: Mapping[str, Check] | None = None) -> APIRouter:
    """Make the three routes; `checks` are asked at each `/readyz`, all at once, each with a deadline.

    `notes` are asked and told like them, but a service with something to note is ready all the same.
    """
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The service runs; no broker and no store is asked.")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="The service can do its work now; each dependency by name.")
    async def readyz() -> JSONResponse:
        found, noted = await look(service, checks), await _asked(notes or {})
        told = {
            part: {name: fault or "ok" for name, fault in each.items()}
            for part, each in (("checks", found), ("notes", noted))
            if each or part == "checks"
        }
        ready = not any(found.values())
        return JSONResponse({"ready": ready, **told}, status_code=200 if ready else 503)

    @router.get("/metrics", include_in_schema=False)
    async def counted() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


async def _asked(checks: Mapping[str, Check]) -> dict[str, str | None]:
    faults = await asyncio.gather(*(_bounded(check) for check in checks.values()))
    return dict(zip(checks, faults, strict=True))


async def _bounded(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except TimeoutError:
        return f"no answer in {CHECK_TIMEOUT_S:.0f} s"
    except asyncio.CancelledError as error:  # of a lost connection, say: nobody cancelled this
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return type(error).__name__
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault of what was asked, and ends no loop
        return type(error).__name__
