"""The inferencing API's way in: pings, models, and the start of a run, as InnerEye's public client calls them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import AUTHENTICATE, IMPORT, LOOK_UP, ObjectKind
from radbus_runtime.auth.principal import AccessScope, Requires
from radbus_runtime.dialects import NOT_FOUND, UNAVAILABLE, InnerEyeError, InnerEyeRoute

from radbus_ingest.adapters.bodies import BodyReader
from radbus_ingest.adapters.inner_eye_answers import (
    ASKED_RESPONSES,
    BODY_FAULTS,
    EMPTY_PAGE,
    GONE,
    GONE_RESPONSES,
    INVALID_MODEL,
    REPLACEMENT,
    RUN_ID_RESPONSE,
    START_RESPONSES,
    ZIP_BODY,
    ModelAnswer,
    SegmentationAnswer,
)
from radbus_ingest.adapters.spool import Spool
from radbus_ingest.domain.limits import BodyBusyError, BodyError, BusyError
from radbus_ingest.domain.runs import Model, Upload
from radbus_ingest.handlers.admitting import Gate
from radbus_ingest.handlers.starting import RunStarter


class RunRoutes:
    """Answers in bytes, not in intent: the client compares statuses, media types and whole bodies."""

    def __init__(
        self, starter: RunStarter, bodies: BodyReader, *, models: Mapping[str, Model], requires: Requires, gate: Gate
    ) -> None:
        self._starter = starter
        self._bodies = bodies
        self._models = models
        self._may_store = requires(AccessScope.STORE, IMPORT)
        self._may_ping = requires(AccessScope.READ, AUTHENTICATE)
        self._may_list = requires(AccessScope.READ, LOOK_UP)
        self._gate = gate

    def router(self) -> APIRouter:
        """Make the routes."""
        router = APIRouter(tags=["inferencing"], route_class=InnerEyeRoute)
        router.add_api_route(
            "/ping", self.ping, responses={200: EMPTY_PAGE}, response_class=Response, response_model=None
        )
        for path in ("/v1/ping", "/api/ping"):
            router.add_api_route(
                path,
                self.ping_as,
                responses={200: EMPTY_PAGE, **ASKED_RESPONSES},
                response_class=Response,
                response_model=None,
            )
        router.add_api_route("/api/v1/models", self.models, response_model=list[ModelAnswer], responses=ASKED_RESPONSES)
        # A model id is all of the path that is left, so that no id is a page of another dialect.
        router.add_api_route(
            "/v1/model/start/{model_id:path}",
            self.start,
            methods=["POST"],
            status_code=201,
            openapi_extra=ZIP_BODY,
            responses={201: RUN_ID_RESPONSE, **START_RESPONSES},
            response_class=Response,
            response_model=None,
        )
        router.add_api_route(
            "/api/v1/models/{model_id:path}/segmentation",
            self.segment,
            methods=["POST"],
            status_code=201,
            openapi_extra=ZIP_BODY,
            response_model=SegmentationAnswer,
            responses=START_RESPONSES,
        )
        for path, method in product(("/api/v1/storage", "/api/v1/feedback"), ("GET", "POST", "PUT", "DELETE")):
            router.add_api_route(
                path, self.gone, methods=[method], status_code=410, response_class=Response, responses=GONE_RESPONSES
            )
        return router

    async def ping(self) -> Response:
        """Say that the service is up."""
        return Response(media_type="text/html")

    async def ping_as(self, request: Request) -> Response:
        """Say that the service is up and the credentials are good."""
        await self._may_ping(request)
        return Response(media_type="text/html")

    async def models(self, request: Request) -> list[ModelAnswer]:
        """List the models that are the caller's."""
        principal = await self._may_list(request)
        return [
            ModelAnswer(
                id=each.id,
                uuid=each.uuid,
                name=each.machine,
                title=each.title,
                version=each.version,
                channels=[*each.channels],
            )
            for each in self._models.values()
            if principal.has_model(each.uuid)
        ]

    async def start(self, request: Request) -> Response:
        """Start a run of a model on a zip; the answer is the run's id, bare."""
        run_id = await self._started(request)
        # As a header: given as a media type, it would get a charset.
        return Response(run_id, status_code=201, headers={"content-type": "text/plain"})

    async def segment(self, request: Request) -> JSONResponse:
        """Start a segmentation by a model of a zip."""
        run_id = await self._started(request)
        return JSONResponse({"segmentationId": run_id}, status_code=201)

    async def gone(self) -> Response:
        """Name what took the place of a call that is no more."""
        return GONE.answer(REPLACEMENT)

    async def _started(self, request: Request) -> str:
        principal = await self._may_store(request)
        model = self._models.get(request.path_params["model_id"])
        if model is None or not principal.has_model(model.uuid):
            raise InnerEyeError(NOT_FOUND, INVALID_MODEL)
        async with self._gate.admitted(principal.institution, (principal.name,)):
            spool = await self._body(request)
            try:
                upload = Upload(principal.institution, model, spool.sha256, spool.size_bytes)
                run_id = await self._starter.start(upload, spool)
            finally:
                spool.close()
        current_access().about(ObjectKind.RUN, [run_id])
        return run_id

    async def _body(self, request: Request) -> Spool:
        try:
            return await self._bodies.whole(request)
        except BodyBusyError as error:
            raise BusyError(str(error), retry_after_s=error.retry_after_s) from error
        except BodyError as error:
            raise InnerEyeError(BODY_FAULTS[error.status]) from error
        except OSError as error:  # the disk under the spool
            raise InnerEyeError(UNAVAILABLE) from error
