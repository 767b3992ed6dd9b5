"""`GET /v1/model/results/{run_id}`: the result of a run, as InnerEye's client asks for it."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import Any, Protocol, assert_never

import structlog
from fastapi import APIRouter, Depends, Response
from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import READ_JOB
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.dialects import GONE, INTERNAL_ERROR, INVALID_INPUT, NOT_FOUND, InnerEyeError, InnerEyeRoute
from radbus_runtime.http import id_for_log
from radbus_storage.errors import ObjectMissingError

from radbus_results.adapters.runs import Runs
from radbus_results.domain.run import Run, RunState
from radbus_results.handlers.documented import FAULTS, ZIP

log = structlog.get_logger(__name__)

_ENTRY = "segmentation.dcm"
_ARCHIVES_AT_ONCE = 4  # each holds a structure set in memory
_READABLE_BY_ITS_OWNER = 0o600 << 16


class Objects(Protocol):
    """Where structure sets are kept."""

    async def get(self, key: str) -> bytes:
        """Read one whole; raise ObjectMissingError when it is not there."""
        ...


class RunResults:
    """Answers for runs of an institution, in the words of the inferencing API."""

    def __init__(self, runs: Runs, objects: Objects) -> None:
        self._runs = runs
        self._objects = objects
        self._free = asyncio.Semaphore(_ARCHIVES_AT_ONCE)

    async def find(self, principal: Principal, run_id: str) -> Run:
        """Return how a run stands.

        Raises:
            InnerEyeError: There is none, it is another institution's, of a model that is not the caller's, or erased.
        """
        run = await self._runs.find(principal.institution, run_id)
        if run is None or not principal.has_model(run.model_uuid):
            raise InnerEyeError(NOT_FOUND, "InvalidRunId")
        if run.erased:
            raise InnerEyeError(GONE)
        log.info("run.answered", run_id=id_for_log(run_id), state=run.state.value)
        return run

    async def answer(self, run: Run) -> Response:
        """Return the result as a zip, or an empty body while there is none.

        Raises:
            InnerEyeError: There will be none.
        """
        match run.state:
            case RunState.PENDING | RunState.RUNNING:
                # A client of this dialect takes any content of a 202 for a failure.
                return Response(status_code=202, media_type="text/html")
            case RunState.COMPLETED:
                return Response(await self._zip(run), media_type="application/zip")
            case RunState.REFUSED:
                raise InnerEyeError(INVALID_INPUT, "InvalidZipFile")
            case RunState.CANCELLED:
                raise InnerEyeError(INTERNAL_ERROR, "RunCancelled")
            case RunState.FAILED:
                raise InnerEyeError(INTERNAL_ERROR)
            case _:
                assert_never(run.state)

    async def _zip(self, run: Run) -> bytes:
        async with self._free:
            try:
                structure_set = await self._objects.get(run.structure_set or "")
            except ObjectMissingError as error:
                log.warning("run.result_missing", exc_info=error)
                raise InnerEyeError(INTERNAL_ERROR) from error
            current_access().hands_out()
            return await asyncio.to_thread(_zipped, structure_set)


def run_routes(results: RunResults, requires_secret: Requires) -> APIRouter:
    """Make the route."""
    router = APIRouter(tags=["inferencing API"], route_class=InnerEyeRoute, responses={**ZIP, **FAULTS})
    caller: Any = Depends(requires_secret(AccessScope.READ, READ_JOB))

    @router.get("/v1/model/results/{run_id}", response_class=Response, summary="The result of a run.")
    async def run_result(run_id: str, principal: Principal = caller) -> Response:
        return await results.answer(await results.find(principal, run_id))

    return router


def _zipped(structure_set: bytes) -> bytes:
    """Make the zip: one entry and no folder, without a time stamp, so that it is the same each time."""
    entry = zipfile.ZipInfo(_ENTRY)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = _READABLE_BY_ITS_OWNER
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(entry, structure_set)
    return content.getvalue()
