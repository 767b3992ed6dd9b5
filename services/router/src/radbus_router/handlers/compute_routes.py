"""`GET` and `POST /compute/{uid}`, as the results API has them."""

from __future__ import annotations

import time
from typing import Final, assert_never

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import COMPUTE, ObjectKind
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.bodies import BodyError, small_body
from radbus_runtime.documented import REFUSALS, Answers, RefusalBody, refusal
from radbus_runtime.http import id_for_log

from radbus_router.domain.requesting import (
    RUN_LIMIT,
    AlreadyPushed,
    Answer,
    NotNewest,
    NotUploaded,
    NoUseCase,
    Pushed,
    RerunAnswer,
    TooOften,
)
from radbus_router.handlers.bodies import ComputeBody, ComputeRequest, NotImplementedBody, RerunBody
from radbus_router.handlers.computing import ComputeRequests

log = structlog.get_logger(__name__)

_BODY_LIMIT_BYTES: Final = 4096
_ANSWERS: Final[Answers] = {
    **REFUSALS,
    200: {
        "model": ComputeBody | RerunBody,
        "description": "Pushed, or it will be as soon as its use cases are known; of a rerun, the new run's job.",
    },
    304: {"description": "Pushed before, and `recompute` is not asked for."},
    400: {
        "model": NotImplementedBody | RefusalBody,
        "description": "No use case is for these images, or the body is no JSON of the documented form.",
    },
    404: refusal("Not uploaded, or another institution's."),
    409: refusal("The job that is to run once more is none of the newest revision of these images."),
    429: refusal(f"Too many requests, or these images were computed {RUN_LIMIT} times."),
}
# Written out, because the body is read by hand: it may be absent, also with a Content-Type, and is allowed with GET.
_OPERATION: Final = {
    "parameters": [
        {
            "name": "Source",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": 128},
            "description": "Workspace; must be one of the token's.",
        }
    ],
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": ComputeRequest.model_json_schema()}},
    },
}


def compute_routes(requests: ComputeRequests, requires: Requires) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["results"])
    caller = Depends(requires(AccessScope.COMPUTE, COMPUTE))

    @router.get("/compute/{uid}", responses=_ANSWERS, openapi_extra=_OPERATION, summary="Ask for computation.")
    @router.post("/compute/{uid}", responses=_ANSWERS, openapi_extra=_OPERATION, summary="Ask for computation.")
    async def compute(uid: str, request: Request, principal: Principal = caller) -> Response:
        started = time.monotonic()
        asked = await _asked(request)
        answer: Answer | RerunAnswer
        if asked.rerun is None:
            answer = await requests.ask(principal.institution, uid, recompute=asked.recompute)
            status, body = _answer(uid, answer)
        else:
            answer = await requests.rerun(principal.institution, uid, asked.rerun)
            status, body = _rerun_answer(uid, answer)
        if isinstance(answer, Pushed):
            current_access().about(ObjectKind.JOB, answer.job_ids)
        log.info(
            "compute.answered",
            uid=id_for_log(uid),
            recompute=asked.recompute,
            rerun=asked.rerun is not None,
            status=status,
            job_ids=answer.job_ids if isinstance(answer, Pushed) else (),
            duration_s=round(time.monotonic() - started, 4),
        )
        return Response(status_code=status) if body is None else JSONResponse(body.model_dump(), status_code=status)

    return router


async def _asked(request: Request) -> ComputeRequest:
    body = await small_body(request, limit_bytes=_BODY_LIMIT_BYTES)
    if not body.strip():
        return ComputeRequest()
    try:
        return ComputeRequest.model_validate_json(body)
    except ValidationError:
        raise BodyError(
            'expected no body, or JSON: {"recompute": true}, {"recompute": false} or {"rerun": "<job id>"}'
        ) from None


def _answer(uid: str, answer: Answer) -> tuple[int, BaseModel | None]:
    match answer:
        case Pushed():
            return 200, ComputeBody()
        case AlreadyPushed():
            return 304, None
        case NotUploaded():
            return _not_uploaded(uid)
        case NoUseCase():
            return 400, NotImplementedBody(debug_info={"reason": answer.reason})
        case TooOften():
            return _too_often()
        case _:
            assert_never(answer)


def _rerun_answer(uid: str, answer: RerunAnswer) -> tuple[int, BaseModel]:
    match answer:
        case Pushed():
            return 200, RerunBody(message="The job is asked for once more.", job_id=answer.job_ids[0])
        case NotNewest():
            return 409, RefusalBody(message=f"expected a job of the newest revision of {uid}")
        case NotUploaded():
            return _not_uploaded(uid)
        case TooOften():
            return _too_often()
        case _:
            assert_never(answer)


def _not_uploaded(uid: str) -> tuple[int, BaseModel]:
    return 404, RefusalBody(message=f"Resource with SeriesInstanceUID {uid} is not yet uploaded!")


def _too_often() -> tuple[int, BaseModel]:
    return 429, RefusalBody(message=f"expected at most {RUN_LIMIT} computations of the same images")
