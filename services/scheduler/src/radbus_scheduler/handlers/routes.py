"""`/jobs`: what an institution asked for, how far it is, stopping it, and letting it go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import CHANGE_JOB, QUERY, READ_JOB, ObjectKind
from radbus_runtime.auth.principal import AccessScope, Principal, Requires
from radbus_runtime.cursors import CURSOR_CHARACTERS, cursor_of, place_of
from radbus_runtime.documented import REFUSALS, refusal

from radbus_scheduler.adapters.jobs import Jobs, PageOf
from radbus_scheduler.domain.changes import cancelled
from radbus_scheduler.domain.job import Job, JobState
from radbus_scheduler.handlers.ledger import Ledger
from radbus_scheduler.handlers.requests import JobRequests, NotRetried
from radbus_scheduler.handlers.views import CancelView, JobPageView, JobView

_NONE_SUCH = JSONResponse({"success": False, "message": "There is no such job."}, status_code=404)
_UNKNOWN = refusal("Your institution has no such job.")


def job_routes(jobs: Jobs, ledger: Ledger, requests: JobRequests, requires: Requires) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])
    _add_reading(router, jobs, requires)
    _add_changing(router, jobs, ledger, requests, requires)
    return router


def _add_reading(router: APIRouter, jobs: Jobs, requires: Requires) -> None:
    lister, reader = (Depends(requires(AccessScope.READ, kind)) for kind in (QUERY, READ_JOB))

    @router.get(
        "",
        summary="List jobs, the newest first.",
        responses={**REFUSALS, 400: refusal("The cursor is not `next` of a page.")},
    )
    async def list_jobs(
        state: JobState | None = None,
        use_case: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[
            str | None, Query(max_length=CURSOR_CHARACTERS, description="`next` of the page before.")
        ] = None,
        principal: Principal = lister,
    ) -> JobPageView:
        after = place_of(cursor) if cursor else None
        found = await jobs.page(principal.institution, PageOf(state, use_case, after, limit))
        _note(found)
        last = found[-1] if len(found) == limit else None
        return JobPageView(
            jobs=[JobView.of(job) for job in found],
            next=cursor_of(last.requested_at, last.id) if last else None,
        )

    @router.get(
        "/{job_id}", summary="Read a job with its tasks.", responses={**REFUSALS, 404: _UNKNOWN}, response_model=JobView
    )
    async def read_job(job_id: str, principal: Principal = reader) -> JobView | JSONResponse:
        job = await _known(jobs, principal, job_id)
        return _NONE_SUCH if job is None else JobView.of(job)


def _add_changing(router: APIRouter, jobs: Jobs, ledger: Ledger, requests: JobRequests, requires: Requires) -> None:
    computer = Depends(requires(AccessScope.COMPUTE, CHANGE_JOB))

    @router.post(
        "/{job_id}/cancel",
        summary="Stop a job; its workers notice within seconds.",
        status_code=202,
        responses={**REFUSALS, 400: refusal("Not JSON."), 404: _UNKNOWN, 409: refusal("It has ended already.")},
        response_model=JobView,
    )
    async def cancel_job(
        job_id: str, asked: CancelView | None = None, principal: Principal = computer
    ) -> JobView | JSONResponse:
        if await _known(jobs, principal, job_id) is None:
            return _NONE_SUCH
        reason = asked.reason if asked else f"cancelled by {principal.name}"
        await ledger.change(job_id, lambda job, now: cancelled(job, reason, now))
        job = await jobs.of_institution(principal.institution, job_id)
        if job is None:
            return _NONE_SUCH
        if job.state is not JobState.CANCELLED:
            return JSONResponse({"success": False, "message": f"The job has {job.state.value} already."}, 409)
        return JobView.of(job)

    @router.post(
        "/{job_id}/retry",
        summary="Let a job go on that has failed or was cancelled: what has succeeded stays, the rest begins anew.",
        status_code=202,
        responses={**REFUSALS, 404: _UNKNOWN, 409: refusal("It has not failed, or can never succeed.")},
        response_model=JobView,
    )
    async def retry_job(job_id: str, principal: Principal = computer) -> JobView | JSONResponse:
        job = await _known(jobs, principal, job_id)
        if job is None:
            return _NONE_SUCH
        answer = await requests.retry(job)
        if isinstance(answer, NotRetried):
            return JSONResponse({"success": False, "message": answer.reason}, 409)
        return JobView.of(answer)


async def _known(jobs: Jobs, principal: Principal, job_id: str) -> Job | None:
    job = await jobs.of_institution(principal.institution, job_id)
    _note([job] if job is not None else [])
    return job


def _note(found: Sequence[Job]) -> None:
    """Say for the audit trail which jobs are reached, and of what."""
    access = current_access()
    access.about(ObjectKind.STUDY, (job.study_instance_uid for job in found if job.study_instance_uid))
    access.about(ObjectKind.SERIES, (uid for job in found for uid in job.series_instance_uids))
    access.about(ObjectKind.JOB, (job.id for job in found))
