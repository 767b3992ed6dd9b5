"""`GET /inferences`: the history of results, in pages, and each by its id."""

from __future__ import annotations

import binascii
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Protocol

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import TriageStatus
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.http import id_for_log

from radbus_results.adapters.inferences import Inferences, Place, Search
from radbus_results.domain.inference import Inference
from radbus_results.handlers.bodies import InferenceBody, RefusalBody
from radbus_results.handlers.rendering import Sign, inference_body

log = structlog.get_logger(__name__)

PAGE_WITH_FILES_LIMIT = 10


class CursorError(PermanentError):
    """Not a cursor of ours."""


class ArchiveOf(Protocol):
    """Gives the object key of a series' archive."""

    async def key(self, institution: str, series_instance_uid: str) -> str | None:
        """Return it, made if need be; None where there cannot be one."""
        ...


class InferenceQuery(BaseModel):
    """What may be asked of the list."""

    model_config = ConfigDict(extra="ignore")

    study: str | None = Field(default=None, description="StudyInstanceUID.")
    series: str | None = Field(default=None, description="SeriesInstanceUID.")
    model: str | None = Field(default=None, description="Id or name of a model.")
    version: str | None = Field(default=None, description="Version of the model.")
    usecase: str | None = None
    triage: TriageStatus | None = Field(default=None, description="Routine or Critical.")
    since: datetime | None = Field(default=None, description="Completed at this time or later; UTC where it says none.")
    until: datetime | None = Field(default=None, description="Completed before this time.")
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=200, description="From the `Link` of the page before.")
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
        return None if value is None else _utc(value)

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

    def __init__(self, inferences: Inferences, archives: ArchiveOf, *, sign: Sign) -> None:
        self._inferences = inferences
        self._archives = archives
        self._sign = sign

    async def page(self, institution: str, query: InferenceQuery) -> tuple[list[InferenceBody], str | None]:
        """Return a page, and the cursor of the next when there is one."""
        after = place_of(query.cursor) if query.cursor else None
        size = query.page_size
        found = await self._inferences.search(institution, query.search, limit=size + 1, after=after)
        bodies = [await self._body(institution, each, with_files=query.files) for each in found[:size]]
        return bodies, cursor_of(found[size - 1]) if len(found) > size else None

    async def one(self, institution: str, inference_id: str) -> InferenceBody | None:
        """Return one inference, with archives of its series."""
        found = await self._inferences.get(institution, inference_id)
        return None if found is None else await self._body(institution, found, with_files=True)

    async def _body(self, institution: str, inference: Inference, *, with_files: bool) -> InferenceBody:
        archives = await self._archive_keys(institution, inference) if with_files else {}
        return inference_body(inference, archives=archives, sign=self._sign)

    async def _archive_keys(self, institution: str, inference: Inference) -> Mapping[str, str]:
        keys = {uid: await self._archives.key(institution, uid) for uid in inference.series_instance_uids}
        return {uid: key for uid, key in keys.items() if key is not None}


def cursor_of(inference: Inference) -> str:
    """Spell the place where a page ends."""
    return urlsafe_b64encode(f"{inference.completed_at.isoformat()}|{inference.id}".encode()).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Read a cursor.

    Raises:
        CursorError: It is not one of ours.
    """
    try:
        time_text, _, inference_id = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
        written_at = datetime.fromisoformat(time_text)
        completed_at = _utc(written_at)
    except (binascii.Error, ValueError) as error:
        raise CursorError("cursor: expected one from the Link header of a page") from error
    if written_at.tzinfo is None or not inference_id:
        raise CursorError("cursor: expected one from the Link header of a page")
    return Place(completed_at, inference_id)


def _utc(time: datetime) -> datetime:
    """Give a time in UTC, which it is in where it says nothing; raise ValueError for one outside the calendar there."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a time between the years 1 and 9999 in UTC") from error


def inference_routes(reader: InferencesReader, requires: Requires) -> APIRouter:
    """Make the routes of the inference API."""
    router = APIRouter(tags=["inferences"])
    caller = Depends(requires(AccessScope.READ))

    @router.get("/inferences", responses={400: {"model": RefusalBody}}, summary="Results, newest first, in pages.")
    async def inferences(
        request: Request,
        response: Response,
        query: Annotated[InferenceQuery, Query()],
        principal: Principal = caller,
    ) -> list[InferenceBody]:
        started = time.monotonic()
        page, cursor = await reader.page(principal.institution, query)
        if cursor is not None:
            response.headers["Link"] = f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'
        log.info("inferences.listed", count=len(page), duration_s=round(time.monotonic() - started, 4))
        return page

    @router.get(
        "/inferences/{inference_id}",
        response_model=InferenceBody,
        responses={404: {"model": RefusalBody}},
        summary="One result, with archives of its series.",
    )
    async def inference(inference_id: str, principal: Principal = caller) -> InferenceBody | JSONResponse:
        started = time.monotonic()
        body = await reader.one(principal.institution, inference_id)
        status = 200 if body else 404
        duration_s = round(time.monotonic() - started, 4)
        log.info("inference.answered", inference_id=id_for_log(inference_id), status=status, duration_s=duration_s)
        if body is None:
            message = f"There is no inference {inference_id}."
            return JSONResponse(RefusalBody(message=message).model_dump(), status_code=404)
        return body

    return router
