"""What is asked of the scheduler: a job to be done, a job to be stopped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog
from radbus_contracts.envelope import Event
from radbus_contracts.facts import JobCancelRequestedV1, JobRequestedV1
from radbus_storage.documents import Documents

from radbus_scheduler.adapters.jobs import Jobs
from radbus_scheduler.adapters.leases import Leases
from radbus_scheduler.domain.changes import cancelled
from radbus_scheduler.domain.job import Job
from radbus_scheduler.domain.plan import Machines, plan
from radbus_scheduler.domain.retrying import retried, why_not_retried
from radbus_scheduler.handlers.ledger import Ledger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NotRetried:
    """A job cannot go on, and why; the text has no patient data."""

    reason: str


class JobRequests:
    """Makes jobs, cancels them and lets them go on."""

    def __init__(
        self,
        documents: Documents,
        jobs: Jobs,
        leases: Leases,
        ledger: Ledger,
        *,
        machines: Machines,
        wait_s: float,
    ) -> None:
        self._documents = documents
        self._jobs = jobs
        self._leases = leases
        self._ledger = ledger
        self._machines = machines
        self._wait_s = wait_s

    async def on_job_requested(self, event: Event[JobRequestedV1]) -> None:
        """Make the job once, however often it is asked for; a newer revision takes the place of an older one."""
        job = plan(
            event.data,
            institution=event.institution,
            machines=self._machines,
            now=await self._documents.now(),
            wait_s=self._wait_s,
            traceparent=event.traceparent,
        )
        is_new = await self._ledger.add(job)
        if is_new:
            log.info("job.accepted", job_id=job.id, use_case=job.use_case, priority=job.priority, tasks=len(job.tasks))
        await self._cancel_superseded(job)

    async def on_cancel_requested(self, event: Event[JobCancelRequestedV1]) -> None:
        """Cancel a job, if it has not ended."""
        told = event.data
        await self._ledger.change(
            told.job_id,
            lambda job, now: cancelled(job, told.reason, now) if job.institution == event.institution else None,
        )

    async def retry(self, job: Job) -> Job | NotRetried:
        """Let a job that has failed or was cancelled go on; one that does already is as it is."""
        newest_revision, _ = await self._jobs.superseded_beside(job)
        erased = await self._leases.has_erased(job.institution, job.id)
        refused = why_not_retried(job, machines=self._machines, newest_revision=newest_revision, erased=erased)
        if refused is not None:
            return NotRetried(refused)
        after = await self._ledger.change(job.id, self._retried)
        if after is None:  # somebody was faster
            return await self._jobs.of_institution(job.institution, job.id) or job
        log.info("job.retried", job_id=job.id, use_case=job.use_case, retries=after.retries)
        # A newer revision that came meanwhile did not see this job active; now one of the two sees the other.
        await self._cancel_superseded(after)
        return after

    def _retried(self, job: Job, now: datetime) -> Job | None:
        return retried(job, machines=self._machines, now=now, wait_s=self._wait_s)

    async def _cancel_superseded(self, job: Job) -> None:
        # Asked for again each time, so that a crash after the write above leaves nothing undone.
        revision, job_ids = await self._jobs.superseded_beside(job)
        reason = f"superseded by revision {revision}"
        for job_id in job_ids:
            await self._ledger.change(job_id, lambda old, now: cancelled(old, reason, now))
