"""One attempt, from its claim to its outcome: lease, time limit, progress, and what an error means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from radbus_contracts.errors import PermanentError, RadbusError, ServerAwayError, TransientError
from radbus_dicom.errors import SeriesNotUsable
from radbus_machines.manifest import MachineManifest
from radbus_machines.protocol import Progress
from radbus_runtime.logs import describe
from radbus_storage.errors import DiskFullError, is_disk_full

from radbus_worker.adapters import metrics
from radbus_worker.adapters.courtesies import Courtesies
from radbus_worker.adapters.leases import Leases
from radbus_worker.adapters.outcomes import Outcomes
from radbus_worker.domain.claims import Claim
from radbus_worker.domain.results import Failure, Produced, Result, Stopped, failure_of, not_usable, too_slow

log = structlog.get_logger(__name__)

_PROGRESS_EVERY_S = 1.0
_RECORD_FOR_S = 60.0  # a result is dear: the stores get some time to come back
_RECORD_AGAIN_S = 1.0
_NEWS_TRAVEL_S = 30.0


class Runner(Protocol):
    """Does an attempt's work."""

    async def run(self, claim: Claim, progress: Progress) -> Produced:
        """Make the outputs and store them.

        Raises:
            SeriesNotUsable: The images do not allow an answer.
            RadbusError: It failed; the error's kind says whether another attempt may succeed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Station:
    """A machine that this worker can run, and how."""

    manifest: MachineManifest
    runner: Runner


@dataclass(frozen=True, slots=True)
class Attempts:
    """Runs attempts; whatever happens in one, the worker goes on."""

    stations: Mapping[str, Station]
    leases: Leases
    outcomes: Outcomes
    courtesies: Courtesies
    renew_every_s: float
    on_full_disk: Callable[[], None]
    server_again_s: float = 2.0

    async def run(self, claim: Claim) -> None:
        """Do an attempt and record what it came to."""
        order, started = claim.order, time.monotonic()
        ids = {"job_id": order.job_id, "task_id": order.task_id, "attempt": order.attempt, "machine": order.machine}
        with structlog.contextvars.bound_contextvars(**ids):
            try:
                result = await self._guarded(claim)
                recorded = isinstance(result, Stopped) or await self._recorded(claim, result)
            except asyncio.CancelledError:
                await self._give_up(claim)
                raise
            except Exception as error:  # it must not take the other attempts along; its lease runs out
                log.exception("attempt.lost", exc_info=error)
                return
            kind = type(result).__name__.lower() if recorded else "unrecorded"
            metrics.attempts_ended.labels(order.machine, kind).inc()
            reason = None if isinstance(result, Produced) else result.reason
            log.info("attempt.ended", result=kind, reason=reason, duration_s=round(time.monotonic() - started, 3))

    async def _guarded(self, claim: Claim) -> Result:
        """Do the work while its lease is kept; the work is stopped when the lease is lost or nobody wants it."""
        progress = _ProgressTeller(self.courtesies, claim)
        work = asyncio.create_task(self._judged(claim, progress))
        lease = asyncio.create_task(self._keep_lease(claim))
        telling = asyncio.create_task(progress.run())
        tasks = (work, lease, telling)
        try:
            await asyncio.wait((work, lease), return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else Stopped(lease.result())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _judged(self, claim: Claim, progress: Progress) -> Result:
        station = self.stations.get(claim.order.machine)
        if station is None:
            # A newer worker may know it: while a new version is rolled out both are there.
            return Failure(f"this worker has no machine named {claim.order.machine!r}", again=True)
        limit_s = claim.time_limit_s(station.manifest.timeout_s)
        try:
            async with asyncio.timeout(limit_s) as limit:
                return await self._with_servers(station.runner, claim, progress, limit)
        except SeriesNotUsable as error:
            return Produced(not_usable(str(error)))
        except RadbusError as error:
            log.warning("attempt.failed", exc_info=error)
            return self._failure_of(error)
        except Exception as error:  # a machine's author may raise anything; the scheduler limits the attempts
            if isinstance(error, TimeoutError) and limit.expired():
                return too_slow(limit_s)
            log.exception("attempt.failed", exc_info=error)
            return self._failure_of(error)

    def _failure_of(self, error: Exception) -> Failure:
        if isinstance(error, DiskFullError) or is_disk_full(error):
            self.on_full_disk()
            return Failure("a disk of this machine is full", again=True)
        if isinstance(error, RadbusError):
            return failure_of(error)
        return Failure(f"unexpected error: {describe(error)}", again=True)

    async def _with_servers(self, runner: Runner, claim: Claim, progress: Progress, limit: asyncio.Timeout) -> Produced:
        """Run, and run again while a server is away and time is left.

        Failing at once would use up all attempts of all waiting tasks within seconds.
        """
        while True:
            try:
                return await runner.run(claim, progress)
            except ServerAwayError as error:
                end = limit.when()
                if end is not None and end - asyncio.get_running_loop().time() <= self.server_again_s:
                    raise
                log.warning("attempt.waits", again_in_s=self.server_again_s, exc_info=error)
            await asyncio.sleep(self.server_again_s)

    async def _keep_lease(self, claim: Claim) -> str:
        """Renew the lease until there is a reason to stop, and return it."""
        await self.courtesies.started(claim)
        while True:
            await asyncio.sleep(self.renew_every_s)
            try:
                reason = await self.leases.renew(claim)
            except TransientError as error:
                # Going on costs nothing: if the lease has run out meanwhile, the first outcome wins.
                log.warning("lease.not_renewed", exc_info=error)
                continue
            if reason is not None:
                return reason

    async def _recorded(self, claim: Claim, result: Produced | Failure) -> bool:
        station = self.stations.get(claim.order.machine)
        manifest = station.manifest if station else None
        deadline = time.monotonic() + _RECORD_FOR_S
        while True:
            try:
                await self.outcomes.record(claim, manifest, result)
                await self.leases.hold(claim, _NEWS_TRAVEL_S)
            except TransientError as error:
                if time.monotonic() > deadline:
                    log.exception("outcome.not_recorded", exc_info=error)
                    return False
                log.warning("outcome.delayed", exc_info=error)
                await asyncio.sleep(_RECORD_AGAIN_S)
            except PermanentError as error:
                if isinstance(result, Failure):
                    raise
                result = failure_of(error)
            else:
                return True

    async def _give_up(self, claim: Claim) -> None:
        log.info("attempt.given_up")
        try:
            await self.leases.give_up(claim)
        except TransientError as error:
            log.warning("lease.not_given_up", exc_info=error)


class _ProgressTeller:
    """Takes progress from the runner at any rate, and tells it at a slow one."""

    def __init__(self, courtesies: Courtesies, claim: Claim) -> None:
        self._courtesies = courtesies
        self._claim = claim
        self._progress = 0.0

    def __call__(self, progress: float) -> None:
        self._progress = max(self._progress, progress)

    async def run(self) -> None:
        told = 0.0
        while True:
            await asyncio.sleep(_PROGRESS_EVERY_S)
            if self._progress > told:
                told = self._progress
                await self._courtesies.progressed(self._claim, told)
