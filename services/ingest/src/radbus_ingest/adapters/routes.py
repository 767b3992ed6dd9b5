"""The HTTP ways in: `/upload` and `/studies`, two dialects with an answer of its own each."""

from __future__ import annotations

import re
from typing import Final

from fastapi import APIRouter, Request, Response
from radbus_contracts.facts import Dialect, Source
from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import STORE, ObjectKind, Outcome
from radbus_runtime.auth.principal import AccessScope, Requires

from radbus_ingest.adapters.bodies import BodyKind, BodyReader, body_kind
from radbus_ingest.adapters.documented import BODY, STOW_RESPONSES, STUDY_BODY, UPLOAD_RESPONSES
from radbus_ingest.adapters.stow_answers import JSON_TYPE, XML_TYPE, stow_answer, stow_busy, stow_fault
from radbus_ingest.adapters.upload_answers import upload_answer, upload_busy, upload_fault
from radbus_ingest.domain.limits import BodyError, BodyKindError, BusyError
from radbus_ingest.domain.outcomes import Arrival, Receipt
from radbus_ingest.handlers.admitting import Gate
from radbus_ingest.handlers.receiving import Receiver
from radbus_ingest.handlers.touching import Count

_UID: Final = re.compile(r"[0-9.]{1,64}")


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
        self._authenticate = requires(AccessScope.STORE, STORE)
        self._gate = gate
        self._count = count
        self._dicomweb_url = dicomweb_url

    def router(self) -> APIRouter:
        """Make the routes."""
        router = APIRouter(tags=["intake"])
        # Some clients end every address with a slash, and few can send a body again to where a redirect points.
        for path in ("/upload", "/upload/"):
            router.add_api_route(
                path,
                self.upload,
                methods=["POST"],
                response_model=None,
                openapi_extra=BODY,
                responses=UPLOAD_RESPONSES,
                include_in_schema=not path.endswith("/"),
            )
        for path in ("/studies", "/studies/", "/studies/{study_instance_uid}", "/studies/{study_instance_uid}/"):
            router.add_api_route(
                path,
                self.store,
                methods=["POST"],
                response_model=None,
                openapi_extra=STUDY_BODY if "{" in path else BODY,
                responses=STOW_RESPONSES,
                include_in_schema=not path.endswith("/"),
            )
        return router

    async def upload(self, request: Request) -> Response:
        """Store the instances of a body, in any form, and answer each part by its field name."""
        arrival = await self._arrival(request, Dialect.UPLOAD)
        return await self._upload(request, arrival)

    async def store(self, request: Request) -> Response:
        """Store instances by STOW-RS (PS3.18 10.5), or in the manner of /upload for its clients."""
        study_instance_uid = request.path_params.get("study_instance_uid")
        if _speaks_upload(request):
            arrival = await self._arrival(request, Dialect.UPLOAD, study_instance_uid)
            return await self._upload(request, arrival)
        arrival = await self._arrival(request, Dialect.STOW_RS, study_instance_uid)
        try:
            kind = _stow_kind(request, study_instance_uid)
        except BodyError as fault:
            return stow_fault(fault)
        try:
            receipt = await self._receive(request, arrival, kind)
        except BusyError as busy:
            return stow_busy(busy)
        accept = request.headers.get("accept", "").lower()
        media_type = XML_TYPE if XML_TYPE in accept and JSON_TYPE not in accept else JSON_TYPE
        return stow_answer(receipt, base_url=self._base_url(request), media_type=media_type)

    async def _upload(self, request: Request, arrival: Arrival) -> Response:
        try:
            kind = body_kind(request.headers.get("content-type"))
        except BodyError as fault:
            return upload_fault(fault)
        try:
            receipt = await self._receive(request, arrival, kind)
        except BusyError as busy:
            return upload_busy(busy)
        series = dict.fromkeys(stored.instance.series_instance_uid for stored in receipt.stored)
        counts = {uid: await self._count(arrival.institution, uid) for uid in series}
        return upload_answer(receipt, counts)

    async def _receive(self, request: Request, arrival: Arrival, kind: BodyKind) -> Receipt:
        async with self._gate.admitted(arrival.institution, arrival.source.names):
            receipt = await self._receiver.receive(arrival, self._bodies.parts(request, kind))
        _note(receipt)
        return receipt

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


def _note(receipt: Receipt) -> None:
    """Say for the audit trail what was taken."""
    access, taken = current_access(), [stored.instance for stored in receipt.stored]
    access.about(ObjectKind.STUDY, (each.study_instance_uid for each in taken))
    access.about(ObjectKind.SERIES, (each.series_instance_uid for each in taken))
    access.about(ObjectKind.INSTANCE, (each.sop_instance_uid for each in taken))
    if taken and receipt.refused:
        access.outcome = Outcome.MINOR_FAILURE


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
