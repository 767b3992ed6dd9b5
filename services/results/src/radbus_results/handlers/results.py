"""`GET /results/{uid}`: where a series, an instance's series or a study stands, and what was found."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Any, assert_never

import structlog
from fastapi import APIRouter, Depends, Header, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from radbus_contracts.errors import TransientError
from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import READ, ObjectKind, Outcome
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.documented import Answers, RefusalBody, refusal
from radbus_runtime.http import id_for_log

from radbus_results.adapters.cases import Cases
from radbus_results.adapters.inferences import Inferences
from radbus_results.adapters.others import OtherRecords, SeriesIntake, UidKind
from radbus_results.domain.case import (
    Case,
    Failed,
    Intake,
    OnRequest,
    Standing,
    Undecided,
    Unrouted,
    standings,
)
from radbus_results.domain.conclusion import Shown, Waiting, conclude
from radbus_results.handlers.bodies import (
    FailedBody,
    NotImplementedBody,
    ResultBody,
    UnderProcessBody,
)
from radbus_results.handlers.documented import ERASED, REFUSALS
from radbus_results.handlers.rendering import Sign, erased_body, rendered, result_body

log = structlog.get_logger(__name__)
_UID_CHARACTERS = 128

ANSWERS: Answers = {
    **REFUSALS,
    200: {"model": ResultBody, "description": "The result that matters most."},
    202: {"model": UnderProcessBody, "description": "Uploaded, not finished."},
    206: {"model": ResultBody, "description": "The right modality, but the images cannot be judged."},
    400: {"model": NotImplementedBody, "description": "No use case is for these images."},
    404: refusal("Unknown, or another institution's."),
    409: refusal("Computed only on request, and nobody asked."),
    410: ERASED,
    500: {"model": FailedBody, "description": "The job failed for good."},
}


class InferenceMissingError(TransientError):
    """A case names a result that cannot be read."""


@dataclass(frozen=True, slots=True)
class Member:
    """One series: what the facts have told of it, and how far its own record has come."""

    case: Case
    intake: Intake


@dataclass(frozen=True, slots=True)
class Found:
    """What a UID stands for: a series, one of its instances, or a study with its series."""

    uid: str
    kind: UidKind
    study_instance_uid: str
    series: tuple[Member, ...]

    @property
    def name(self) -> str:
        """Name it as the results API's messages do."""
        return f"Resource with {self.kind.value} {self.uid}"


class ResultsReader:
    """Answers where something stands, from the read model and from the series' own records."""

    def __init__(self, cases: Cases, inferences: Inferences, others: OtherRecords, *, sign: Sign) -> None:
        self._cases = cases
        self._inferences = inferences
        self._others = others
        self._sign = sign

    async def answer(self, principal: Principal, uid: str) -> tuple[int, BaseModel]:
        """Return the status and the body for a UID.

        Raises:
            ForbiddenError: All results are of models that are not the caller's to read.
        """
        institution = principal.institution
        found = await self._find(institution, uid)
        if found is None:
            message = f"Resource with {UidKind.SERIES.value} {uid} is not yet uploaded!"
            return 404, RefusalBody(message=message)
        _note(found)
        conclusion = conclude(await self._standings(institution, found))
        match conclusion:
            case Shown():
                return await self._shown(principal, conclusion)
            case Waiting():
                progress = await self._progress(institution, conclusion)
                message = f"{found.name} is under process. Please check back in some time."
                return 202, UnderProcessBody(message=message, progress=progress)
            case Failed():
                verb = "was cancelled" if conclusion.cancelled else "failed"
                message = f"{found.name}: the job {verb}: {conclusion.reason}"
                return 500, FailedBody(message=message, job=conclusion.job_id)
            case OnRequest():
                ask = f"GET /compute/{conclusion.uid}"
                message = f"{found.name} is computed only on request, and nobody has asked: {ask}"
                return 409, RefusalBody(message=message)
            case Unrouted():
                return 400, NotImplementedBody(debug_info={"reason": conclusion.reason})
            case _:
                assert_never(conclusion)

    async def _find(self, institution: str, uid: str) -> Found | None:
        series, case = await asyncio.gather(
            self._others.series(institution, uid), self._cases.of_series(institution, uid)
        )
        if series is not None or case is not None:
            member = _member(series, case)
            return Found(uid, UidKind.SERIES, member.case.study_instance_uid, (member,))
        series = await self._others.series_of_instance(institution, uid)
        if series is not None:
            case = await self._cases.of_series(institution, series.series_instance_uid)
            return Found(uid, UidKind.INSTANCE, series.study_instance_uid, (_member(series, case),))
        return await self._find_study(institution, uid)

    async def _find_study(self, institution: str, uid: str) -> Found | None:
        recorded = await self._others.series_of_study(institution, uid)
        series = {each.series_instance_uid: each for each in recorded}
        case = {each.series_instance_uid: each for each in await self._cases.of_study(institution, uid, series)}
        members = tuple(_member(series.get(each), case.get(each)) for each in sorted({*series, *case}))
        return Found(uid, UidKind.STUDY, uid, members) if members else None

    async def _standings(self, institution: str, found: Found) -> list[Standing]:
        study = await self._others.study(institution, found.study_instance_uid) or Intake()
        # A job on the whole study stands in the case of each of its series: it counts once.
        standing = dict.fromkeys(
            each for member in found.series for each in standings(member.case, series=member.intake, study=study)
        )
        decided = [await self._decided(institution, each) for each in standing]
        if all(isinstance(each, Unrouted) for each in decided):
            # None is for the series; one for the whole study may wait until somebody asks.
            of_study = await self._others.decide_study(institution, found.study_instance_uid)
            decided += [] if of_study is None else [of_study]
        return decided

    async def _decided(self, institution: str, standing: Standing) -> Standing:
        return await self._others.decide(institution, standing) if isinstance(standing, Undecided) else standing

    async def _shown(self, principal: Principal, shown: Shown) -> tuple[int, BaseModel]:
        wanted = [each.inference_id for each in shown.results]
        found = await self._inferences.get_all(principal.institution, wanted)
        if not found:
            raise InferenceMissingError(f"expected an inference {wanted[0]}")
        readable = [each for each in found if principal.has_model(each.model.id)]
        if not readable:
            principal.require_model(found[0].model.id)
        inferences = [each for each in readable if each.erased_at is None]
        if not inferences:
            return 410, erased_body(readable[0])
        body = await rendered(
            lambda sign: result_body(inferences, failed=shown.failed, under_process=shown.under_process, sign=sign),
            self._sign,
        )
        return 200 if inferences[0].usable else 206, body

    async def _progress(self, institution: str, waiting: Waiting) -> float:
        running = await self._others.progress(institution, waiting.job_ids) if waiting.job_ids else []
        return round((waiting.ended + sum(running)) / waiting.total, 3)


def _note(found: Found) -> None:
    """Say for the audit trail what is reached."""
    access = current_access()
    access.about(ObjectKind.STUDY, [found.study_instance_uid])
    access.about(ObjectKind.SERIES, (member.case.series_instance_uid for member in found.series))
    if found.kind is UidKind.INSTANCE:
        access.about(ObjectKind.INSTANCE, [found.uid])


def _member(series: SeriesIntake | None, case: Case | None) -> Member:
    if series is None:
        if case is None:
            raise ValueError("expected a series' record or its case")
        return Member(case, Intake(revision=case.revision))
    unseen = Case(study_instance_uid=series.study_instance_uid, series_instance_uid=series.series_instance_uid)
    return Member(case or unseen, series.intake)


def result_routes(reader: ResultsReader, requires: Requires) -> APIRouter:
    """Make the routes of the results API."""
    router = APIRouter(tags=["results"])
    caller = Depends(requires(AccessScope.READ, READ))

    @router.get("/results/{uid}", responses=ANSWERS, summary="The result of a series, an instance's series or a study.")
    @router.get("/results/v2/{uid}", responses=ANSWERS, summary="The same, by its other address.")
    async def results(
        uid: Annotated[str, Path(max_length=_UID_CHARACTERS, description="Of a series, an instance or a study.")],
        principal: Principal = caller,
        source: Annotated[str | None, Header(description="Workspace; must be one of the token's.")] = None,
    ) -> JSONResponse:
        started = time.monotonic()
        principal.require_source(source)
        status, body = await reader.answer(principal, uid)
        if not isinstance(body, RefusalBody):
            current_access().outcome = Outcome.SUCCESS  # that a job failed was told, and telling it did not fail
        duration_s = round(time.monotonic() - started, 4)
        log.info("results.answered", uid=id_for_log(uid), status=status, duration_s=duration_s)
        return JSONResponse(_json(body), status_code=status)

    return router


def _json(body: BaseModel) -> dict[str, Any]:
    """Leave out what there is none of, save in comparisons: that there is no previous result is what they say."""
    told = body.model_dump(mode="json", exclude_none=True)
    if isinstance(body, ResultBody):
        told["result"]["comparisons"] = [each.model_dump(mode="json") for each in body.result.comparisons]
    return told
