"""`GET /api/v1/models/{id}/segmentation/{id}`: how a run stands, by the addresses that this API was to have."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends, Response
from radbus_runtime.audit.codes import READ_JOB
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.dialects import NOT_FOUND, InnerEyeError, InnerEyeRoute

from radbus_results.domain.run import Run, RunState
from radbus_results.handlers.bodies import SegmentationBody
from radbus_results.handlers.documented import FAULTS, ZIP
from radbus_results.handlers.runs import RunResults

_PATH = "/api/v1/models/{model_id}/segmentation/{segmentation_id}"
_STATUSES: dict[RunState, Literal["pending", "running", "completed", "failed", "cancelled"]] = {
    RunState.PENDING: "pending",
    RunState.RUNNING: "running",
    RunState.COMPLETED: "completed",
    RunState.REFUSED: "failed",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "cancelled",
}


def segmentation_routes(results: RunResults, requires_secret: Requires) -> APIRouter:
    """Make the two routes; a run of another model than the address names is unknown."""
    router = APIRouter(tags=["inferencing API"], route_class=InnerEyeRoute, responses=FAULTS)
    caller = Depends(requires_secret(AccessScope.READ, READ_JOB))

    async def find(principal: Principal, model_id: str, segmentation_id: str) -> Run:
        run = await results.find(principal, segmentation_id)
        if run.model_id != model_id:
            raise InnerEyeError(NOT_FOUND, "InvalidRunId")
        return run

    @router.get(_PATH, summary="How a run stands.")
    async def segmentation(model_id: str, segmentation_id: str, principal: Principal = caller) -> SegmentationBody:
        run = await find(principal, model_id, segmentation_id)
        return SegmentationBody(
            model_id=run.model_id,
            segmentation_id=segmentation_id,
            status=_STATUSES[run.state],
            progress=int(run.progress * 100),
            message=run.message,
        )

    @router.get(f"{_PATH}/result", response_class=Response, responses=ZIP, summary="The result of a run.")
    async def segmentation_result(model_id: str, segmentation_id: str, principal: Principal = caller) -> Response:
        return await results.answer(await find(principal, model_id, segmentation_id))

    return router
