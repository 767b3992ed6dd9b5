"""`GET /api/models/{id}/patients/{mrn}/inferences/`: what one model has found for one patient.

A patient's id is in the address only: it is hashed at once, and stands in no record, log, trace or error.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import QUERY, ObjectKind
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.cursors import CURSOR_CHARACTERS, cursor_of, place_of
from radbus_runtime.dialects import RETRY_AFTER_S, DetailRoute
from radbus_runtime.documented import DetailBody
from radbus_runtime.patient_key import PatientKeys

from radbus_results.adapters.archives import ArchivesPendingError
from radbus_results.adapters.inferences import Inferences, Search
from radbus_results.domain.inference import Inference
from radbus_results.handlers.bodies import PatientInferenceBody
from radbus_results.handlers.documented import DETAILS
from radbus_results.handlers.inferences import ArchivesOf, note
from radbus_results.handlers.links import next_link
from radbus_results.handlers.rendering import Sign, patient_inference_body, rendered

log = structlog.get_logger(__name__)

PAGE_LIMIT = 500
_ID_CHARACTERS = 128
_NOT_CONFIGURED = "Inferences cannot be found by patient: RADBUS_PATIENT_KEY is not set."
_PATH = "/api/models/{model_id}/patients/{patient_mrn:path}/inferences"


class PatientQuery(BaseModel):
    """What may be asked of a patient's inferences."""

    model_config = ConfigDict(extra="ignore")

    limit: int = Field(default=PAGE_LIMIT, ge=1, le=PAGE_LIMIT)
    cursor: str | None = Field(
        default=None, max_length=CURSOR_CHARACTERS, description="From the `Link` of the page before."
    )
    superseded: bool = Field(default=False, description="Also those that a newer one has overtaken.")


@dataclass(frozen=True, slots=True)
class PatientInferences:
    """Finds a patient's inferences by the keyed hash of the patient's id."""

    inferences: Inferences
    archives: ArchivesOf
    patient_keys: PatientKeys | None
    sign: Sign

    async def page(
        self, institution: str, *, model_id: str, patient_id: str, query: PatientQuery
    ) -> tuple[list[PatientInferenceBody], str | None]:
        """Return a page, newest first, and the cursor of the next when there is one.

        Raises:
            ArchivesPendingError: Some of the series' archives are not there yet.
        """
        after = place_of(query.cursor) if query.cursor else None
        if self.patient_keys is None:
            raise HTTPException(503, _NOT_CONFIGURED)
        key = self.patient_keys.of(institution, patient_id)
        if key is None:
            return [], None
        current_access().about(ObjectKind.PATIENT, [key])
        search = Search(model_id=model_id, patient_key=key, current_only=not query.superseded, kept_only=True)
        found = await self.inferences.search(institution, search, limit=query.limit + 1, after=after)
        page = found[: query.limit]
        cursor = cursor_of(page[-1].completed_at, page[-1].id) if len(found) > query.limit else None
        return await self._bodies(institution, page), cursor

    async def _bodies(self, institution: str, found: Sequence[Inference]) -> list[PatientInferenceBody]:
        note(found)
        series = [uid for each in found for uid in each.series_instance_uids]
        archives = await self.archives.keys(institution, series)
        return await rendered(
            lambda sign: [patient_inference_body(each, archives=archives, sign=sign) for each in found], self.sign
        )


def patient_routes(reader: PatientInferences, requires: Requires) -> APIRouter:
    """Make the route of the inference API."""
    router = APIRouter(tags=["inference API"], route_class=DetailRoute, responses=DETAILS)
    caller = Depends(requires(AccessScope.READ, QUERY))

    # By both addresses, since a redirect makes clients drop their credentials.
    @router.get(_PATH, response_model=list[PatientInferenceBody], include_in_schema=False)
    @router.get(f"{_PATH}/", response_model=list[PatientInferenceBody], summary="What a model has found for a patient.")
    async def inferences(
        request: Request,
        response: Response,
        model_id: Annotated[str, Path(max_length=_ID_CHARACTERS, description="By which readers know the model.")],
        patient_mrn: Annotated[str, Path(description="PatientID, percent-encoded.")],
        query: Annotated[PatientQuery, Query()],
        principal: Principal = caller,
    ) -> list[PatientInferenceBody] | JSONResponse:
        started = time.monotonic()
        principal.require_model(model_id)
        try:
            page, cursor = await reader.page(
                principal.institution, model_id=model_id, patient_id=patient_mrn, query=query
            )
        except ArchivesPendingError as error:
            body = DetailBody(detail=str(error))
            return JSONResponse(body.model_dump(), 503, headers={"Retry-After": str(RETRY_AFTER_S)})
        if cursor is not None:
            response.headers["Link"] = next_link(request, cursor)
        log.info("patient.inferences_listed", count=len(page), duration_s=round(time.monotonic() - started, 4))
        return page

    return router
