"""`GET /inferences`: the history of results, in pages, and each by its id."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from radbus_contracts.facts import TriageStatus
from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import QUERY, READ, ObjectKind
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.cursors import CURSOR_CHARACTERS, CursorError, cursor_of, in_utc, place_of
from radbus_runtime.documented import RefusalBody, refusal
from radbus_runtime.http import id_for_log

from radbus_results.adapters.inferences import Inferences, Search, WorklistPlace
from radbus_results.domain.inference import Inference
from radbus_results.domain.triage import Urgency
from radbus_results.handlers.bodies import InferenceBody
from radbus_results.handlers.documented import ERASED, PENDING, REFUSALS
from radbus_results.handlers.links import next_link
from radbus_results.handlers.rendering import Sign, erased_body, inference_body, rendered

log = structlog.get_logger(__name__)

PAGE_WITH_FILES_LIMIT = 10
_ID_CHARACTERS = 128


class Order(StrEnum):
    """In which order results are listed."""

    NEWEST = "newest"
    TRIAGE = "triage"


class ArchivesOf(Protocol):
    """Gives the object keys of series' archives."""

    async def keys(self, institution: str, series_instance_uids: Iterable[str]) -> Mapping[str, str]:
        """Return them by series, made if need be; a series of which there cannot be one is left out."""
        ...


class InferenceQuery(BaseModel):
    """What may be asked of the list."""

    model_config = ConfigDict(extra="ignore")

    study: str | None = Field(default=None, max_length=_ID_CHARACTERS, description="StudyInstanceUID.")
    series: str | None = Field(default=None, max_length=_ID_CHARACTERS, description="SeriesInstanceUID.")
    model: str | None = Field(default=None, max_length=_ID_CHARACTERS, description="Id or name of a model.")
    version: str | None = Field(default=None, max_length=_ID_CHARACTERS, description="Version of the model.")
    usecase: str | None = Field(default=None, max_length=_ID_CHARACTERS)
    triage: TriageStatus | None = Field(default=None, description="Routine or Critical.")
    since: datetime | None = Field(default=None, description="Completed at this time or later; UTC where it says none.")
    until: datetime | None = Field(default=None, description="Completed before this time.")
    order: Order = Field(
        default=Order.NEWEST,
        description="`newest` first; or `triage`, a worklist: critical first, then not judged, then the rest, of each "
        "the longest waiting first, without what was superseded or erased.",
    )
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(
        default=None, max_length=CURSOR_CHARACTERS, description="From the `Link` of the page before."
    )
    files: bool = Field(
        default=False, description=f"Also make archives of the series; a page then has {PAGE_WITH_FILES_LIMIT} at most."
    )

    @field_validator("triage", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("since", "until")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return None if value is None else in_utc(value)

    @property
    def search(self) -> Search:
        """Return what is looked for."""
        return Search(
            study_instance_uid=self.study,
            series_instance_uid=self.series,
            model=self.model,
            version=self.version,
            use_case=self.usecase,
            triage=self.triage,
            since=self.since,
            until=self.until,
        )

    @property
    def page_size(self) -> int:
        """Return how many a page has."""
        return min(self.limit, PAGE_WITH_FILES_LIMIT) if self.files else self.limit


class InferencesReader:
    """Reads inferences and makes what their readers see."""

    def __init__(self, inferences: Inferences, archives: ArchivesOf, *, sign: Sign) -> None:
        self._inferences = inferences
        self._archives = archives
        self._sign = sign

    async def page(self, principal: Principal, query: InferenceQuery) -> tuple[list[InferenceBody], str | None]:
        """Return a page, and the cursor of the next when there is one."""
        size, search = query.page_size, replace(query.search, model_ids=principal.models)
        institution, triaged = principal.institution, query.order is Order.TRIAGE
        if triaged:
            place = worklist_place_of(query.cursor) if query.cursor else None
            found = await self._inferences.worklist(institution, search, limit=size + 1, after=place)
        else:
            after = place_of(query.cursor) if query.cursor else None
            found = await self._inferences.search(institution, search, limit=size + 1, after=after)
        page = found[:size]
        bodies = await self._bodies(principal, page, with_files=query.files)
        if len(found) <= size:
            return bodies, None
        last = page[-1]
        return bodies, cursor_of(last.completed_at, f"{last.urgency.value}|{last.id}" if triaged else last.id)

    async def one(self, principal: Principal, inference_id: str) -> InferenceBody | RefusalBody | None:
        """Return one inference, with archives of its series; None where it is not the reader's to see.

        Of one whose outputs are erased, that they are.
        """
        found = await self._inferences.get(principal.institution, inference_id)
        if found is None or not principal.has_model(found.model.id):
            return None
        if found.erased_at is not None:
            return erased_body(found)
        return (await self._bodies(principal, [found], with_files=True))[0]

    async def _bodies(
        self, principal: Principal, inferences: list[Inference], *, with_files: bool
    ) -> list[InferenceBody]:
        note(inferences)
        series = [uid for each in inferences for uid in each.series_instance_uids] if with_files else []
        archives = await self._archives.keys(principal.institution, series)
        return await rendered(
            lambda sign: [inference_body(each, archives=archives, sign=sign) for each in inferences], self._sign
        )


def worklist_place_of(cursor: str) -> WorklistPlace:
    """Read the cursor of a worklist's page.

    Raises:
        CursorError: It is none.
    """
    place = place_of(cursor)
    urgency, _, inference_id = place.id.partition("|")
    if urgency not in set(Urgency) or not inference_id:
        raise CursorError("cursor: expected one that came with a page of this order")
    return WorklistPlace(Urgency(urgency), place.at, inference_id)


def note(inferences: Iterable[Inference]) -> None:
    """Say for the audit trail which inferences are reached, and of what."""
    access, reached = current_access(), list(inferences)
    access.about(ObjectKind.STUDY, (each.study_instance_uid for each in reached))
    access.about(ObjectKind.SERIES, (uid for each in reached for uid in each.series_instance_uids))
    access.about(ObjectKind.INFERENCE, (each.id for each in reached))


def inference_routes(reader: InferencesReader, requires: Requires) -> APIRouter:
    """Make the routes of radbus's own inference API."""
    router = APIRouter(tags=["inferences"], responses={**REFUSALS, 503: PENDING})
    lister, reader_of_one = (Depends(requires(AccessScope.READ, kind)) for kind in (QUERY, READ))

    @router.get(
        "/inferences",
        responses={400: refusal("Not a cursor of a page.")},
        summary="Results, newest first or as a worklist, in pages.",
    )
    async def inferences(
        request: Request,
        response: Response,
        query: Annotated[InferenceQuery, Query()],
        principal: Principal = lister,
    ) -> list[InferenceBody]:
        started = time.monotonic()
        page, cursor = await reader.page(principal, query)
        if cursor is not None:
            response.headers["Link"] = next_link(request, cursor)
        log.info("inferences.listed", count=len(page), duration_s=round(time.monotonic() - started, 4))
        return page

    @router.get(
        "/inferences/{inference_id}",
        response_model=InferenceBody,
        responses={404: refusal("Unknown, or not yours to read."), 410: ERASED},
        summary="One result, with archives of its series.",
    )
    async def inference(
        inference_id: Annotated[str, Path(max_length=_ID_CHARACTERS)], principal: Principal = reader_of_one
    ) -> InferenceBody | JSONResponse:
        started = time.monotonic()
        body = await reader.one(principal, inference_id)
        status = 404 if body is None else 410 if isinstance(body, RefusalBody) else 200
        duration_s = round(time.monotonic() - started, 4)
        log.info("inference.answered", inference_id=id_for_log(inference_id), status=status, duration_s=duration_s)
        if body is None:
            body = RefusalBody(message=f"There is no inference {inference_id}.")
        return JSONResponse(body.model_dump(), status_code=status) if isinstance(body, RefusalBody) else body

    return router
