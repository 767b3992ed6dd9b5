"""The HTTP ways in: `/upload` and `/studies`, two dialects with an answer of its own each."""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from radbus_contracts.facts import Dialect, Source
from radbus_runtime.auth.principal import AccessScope, Requires

from radbus_ingest.adapters.bodies import BodyForm, BodyKind, BodyReader, body_kind
from radbus_ingest.adapters.stow_answers import JSON_TYPE, XML_TYPE, stow_answer, stow_fault
from radbus_ingest.adapters.upload_answers import UploadAnswer, UploadRefusal, upload_answer, upload_fault
from radbus_ingest.domain.limits import BodyError, BodyKindError
from radbus_ingest.domain.outcomes import Arrival, Receipt
from radbus_ingest.handlers.admitting import Gate
from radbus_ingest.handlers.receiving import Receiver
from radbus_ingest.handlers.touching import Count

_UID: Final = re.compile(r"[0-9.]{1,64}")
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {form.value: _BINARY for form in BodyForm},
    }
}
_UPLOAD_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": UploadAnswer},
    400: {"model": UploadRefusal, "description": "No part is an instance, or the body cannot be read."},
    401: {"description": "No token, or none that is known."},
    403: {"description": "The Source header names a workspace that is not this token's."},
    413: {"model": UploadRefusal, "description": "A limit of size or number."},
    415: {"model": UploadRefusal, "description": "A media type that holds no instances."},
    503: {"model": UploadRefusal, "description": "A store is away, or too much waits; see Retry-After."},
}
_STOW_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **_UPLOAD_RESPONSES,
    200: {
        "model": UploadAnswer,
        "description": "All stored: STOW-RS, or the answer of /upload for multipart/form-data or a Source header.",
        "content": {JSON_TYPE: {}, XML_TYPE: {}},
    },
    202: {"description": "Some stored, or stored with warnings.", "content": {JSON_TYPE: {}, XML_TYPE: {}}},
    409: {"description": "None stored.", "content": {JSON_TYPE: {}, XML_TYPE: {}}},
}


class IntakeRoutes:
    """Reads a request, has it received, and answers in the request's dialect."""

    def __init__(
        self,
        receiver: Receiver,
        bodies: BodyReader,
        *,
        requires: Requires,
        gate: Gate,
        count: Count,
        dicomweb_url: str | None,
    ) -> None:
        self._receiver = receiver
        self._bodies = bodies
        self._authenticate = requires(AccessScope.STORE)
        self._gate = gate
        self._count = count
        self._dicomweb_url = dicomweb_url

    def router(self) -> APIRouter:
        """Make the routes."""
        router = APIRouter(tags=["intake"])
        router.add_api_route("/upload", self.upload, methods=["POST"], openapi_extra=_BODY, responses=_UPLOAD_RESPONSES)
        for path in ("/studies", "/studies/{study_instance_uid}"):
            router.add_api_route(
                path, self.store, methods=["POST"], openapi_extra=_BODY, responses=_STOW_RESPONSES, response_model=None
            )
        return router

    async def upload(self, request: Request) -> Response:
        """Store the instances of a body, in any form, and answer each part by its field name."""
        arrival = await self._arrival(request, Dialect.UPLOAD)
        return await self._upload(request, arrival)

    async def store(self, request: Request, study_instance_uid: str | None = None) -> Response:
        """Store instances by STOW-RS (PS3.18 10.5), or in the manner of /upload for its clients."""
        if _speaks_upload(request):
            arrival = await self._arrival(request, Dialect.UPLOAD, study_instance_uid)
            return await self._upload(request, arrival)
        arrival = await self._arrival(request, Dialect.STOW_RS, study_instance_uid)
        try:
            kind = _stow_kind(request, study_instance_uid)
        except BodyError as fault:
            return stow_fault(fault)
        receipt = await self._receive(request, arrival, kind)
        accept = request.headers.get("accept", "").lower()
        media_type = XML_TYPE if XML_TYPE in accept and JSON_TYPE not in accept else JSON_TYPE
        return stow_answer(receipt, base_url=self._base_url(request), media_type=media_type)

    async def _upload(self, request: Request, arrival: Arrival) -> Response:
        try:
            kind = body_kind(request.headers.get("content-type"))
        except BodyError as fault:
            return upload_fault(fault)
        receipt = await self._receive(request, arrival, kind)
        series = dict.fromkeys(stored.instance.series_instance_uid for stored in receipt.stored)
        counts = {uid: await self._count(arrival.institution, uid) for uid in series}
        return upload_answer(receipt, counts)

    async def _receive(self, request: Request, arrival: Arrival, kind: BodyKind) -> Receipt:
        with self._gate.admitted():
            return await self._receiver.receive(arrival, self._bodies.parts(request, kind))

    async def _arrival(self, request: Request, dialect: Dialect, study_instance_uid: str | None = None) -> Arrival:
        principal = await self._authenticate(request)
        workspace = request.headers.get("source") or None
        principal.require_source(workspace)
        return Arrival(
            institution=principal.institution,
            source=Source(dialect=dialect, workspace=workspace, token_name=principal.name),
            study_instance_uid=study_instance_uid,
            says_complete=request.headers.get("x-series-complete", "").strip().lower() == "true",
        )

    def _base_url(self, request: Request) -> str:
        return (self._dicomweb_url or str(request.base_url)).rstrip("/")


def _stow_kind(request: Request, study_instance_uid: str | None) -> BodyKind:
    if study_instance_uid is not None and not _UID.fullmatch(study_instance_uid):
        raise BodyError("expected a StudyInstanceUID in the address")
    kind = body_kind(request.headers.get("content-type"))
    if kind.parts_type not in {None, "application/dicom", "application/octet-stream"}:
        raise BodyKindError("expected parts of the type application/dicom")
    return kind


def _speaks_upload(request: Request) -> bool:
    """Say which of its two dialects a request to /studies is in (CONTRACTS, section 1)."""
    accept = request.headers.get("accept", "").lower()
    if JSON_TYPE in accept or XML_TYPE in accept:
        return False
    if "source" in request.headers:
        return True
    content_type = request.headers.get("content-type", "").strip().lower()
    return content_type.startswith(("multipart/form-data", "application/zip", "application/x-zip"))
