"""Erase the zip of a run when its job has ended; a slow sweep finds those whose end was never heard."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog
from radbus_contracts.envelope import Event
from radbus_contracts.errors import TransientError
from radbus_contracts.facts import JobCompletedV1, JobFailedV1
from radbus_contracts.identity import RUN_USE_CASE
from radbus_runtime.progress import beat
from radbus_storage.documents import Document

from radbus_ingest.adapters import metrics
from radbus_ingest.domain.runs import FREEING_STATES, has_ended

log = structlog.get_logger(__name__)

_PAGES: Final = 50  # of one sweep; the next one begins anew


class Delete(Protocol):
    """Removes an object."""

    async def __call__(self, key: str) -> None:
        """None there is success; raise TransientError when the store is away."""
        ...


class EndedRuns(Protocol):
    """The records of runs; every call may raise TransientError."""

    async def unended(self, institution: str, run_id: str) -> str | None:
        """Return the object key of a run's zip; None when this is no run, or it is erased."""
        ...

    async def end(self, run_id: str, *, frees: bool) -> None:
        """Say that a run's zip is erased."""
        ...

    async def forgotten(self, *, older_than_s: float, after: str) -> list[Document]:
        """Return a page of old runs with a zip, each with its job's state."""
        ...


class RunEraser:
    """Keeps no zip for longer than it is needed: what is in it belongs to patients."""

    def __init__(self, runs: EndedRuns, delete: Delete, *, older_than_s: float, sweep_every_s: float) -> None:
        self._runs = runs
        self._delete = delete
        self._older_than_s = older_than_s
        self._sweep_every_s = sweep_every_s

    async def on_job_completed(self, event: Event[JobCompletedV1]) -> None:
        """Erase the zip of a run that gave a result."""
        if event.data.use_case == RUN_USE_CASE:
            await self._ended(event.institution, event.data.job_id, frees=False)

    async def on_job_failed(self, event: Event[JobFailedV1]) -> None:
        """Erase the zip of a run that failed or was cancelled, and let the same be started anew."""
        if event.data.use_case == RUN_USE_CASE:
            await self._ended(event.institution, event.data.job_id, frees=True)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            self._beat()
            await asyncio.sleep(self._sweep_every_s)
            try:
                await self.sweep_once()
            except TransientError as error:
                log.warning("run.sweep_failed", exc_info=error)

    async def sweep_once(self) -> None:
        """Erase the zips of old runs whose job has ended unheard, or never was."""
        after = ""
        for _ in range(_PAGES):
            page = await self._runs.forgotten(older_than_s=self._older_than_s, after=after)
            for run in page:
                self._beat()
                if has_ended(run["state"]):
                    await self._erase(run["_id"], run["archive"], frees=run["state"] in FREEING_STATES)
                    metrics.runs_erased.labels("swept").inc()
                    log.warning("run.swept", institution=run["institution"], run_id=run["_id"], job=run["state"])
            if not page:
                return
            after = page[-1]["_id"]

    def _beat(self) -> None:
        beat("runs", within_s=60 + 2 * self._sweep_every_s)

    async def _ended(self, institution: str, run_id: str, *, frees: bool) -> None:
        archive = await self._runs.unended(institution, run_id)
        if archive is None:
            return
        await self._erase(run_id, archive, frees=frees)
        metrics.runs_erased.labels("heard").inc()
        log.info("run.erased", institution=institution, run_id=run_id)

    async def _erase(self, run_id: str, archive: str, *, frees: bool) -> None:
        # The object first: whoever dies in between, the record still tells that there may be one.
        await self._delete(archive)
        await self._runs.end(run_id, frees=frees)
