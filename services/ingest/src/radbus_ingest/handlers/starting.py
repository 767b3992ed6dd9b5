"""Start a run: announce it, store its zip, then begin it together with the request for its job."""

from __future__ import annotations

import time
from typing import BinaryIO, Final, Protocol
from uuid import uuid4

import structlog
from radbus_contracts.errors import RadbusError, TransientError
from radbus_contracts.identity import event_id
from radbus_contracts.topology import JOB_REQUESTED
from radbus_runtime.events import Outgoing, Teller

from radbus_ingest.adapters import metrics
from radbus_ingest.adapters.spool import Spool
from radbus_ingest.domain.runs import Upload, archive_key, job_of

log = structlog.get_logger(__name__)

_ZIP: Final = "application/zip"  # said of it; nobody has looked


class Archives(Protocol):
    """Where the zips go."""

    async def put(self, key: str, data: bytes | BinaryIO, *, size_bytes: int, content_type: str = ...) -> None:
        """Store an object, or raise TransientError."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; none there is success."""
        ...


class Runs(Protocol):
    """Where the records go; every call may raise TransientError."""

    async def holder(self, upload: Upload) -> str | None:
        """Return the run with which a repeated start is answered."""
        ...

    async def announce(self, run_id: str, upload: Upload) -> None:
        """Write down that a zip will be stored."""
        ...

    async def begin(self, run_id: str, upload: Upload, told: Outgoing) -> str:
        """Begin an announced run with its event; return the run that was begun, which may be another's."""
        ...

    async def withdraw(self, run_id: str) -> bool:
        """Take back an announced run; False when it has begun."""
        ...

    async def forget(self, run_id: str) -> None:
        """Remove the record of a withdrawn run."""
        ...


class SendSoon(Protocol):
    """Publishes what a run's record holds for the bus."""

    def __call__(self, run_id: str, messages: list[Outgoing]) -> None:
        """Never waits and never fails."""
        ...


class RunStarter:
    """Starts runs; the same start within a short time is the same run, on whichever replica."""

    def __init__(self, objects: Archives, runs: Runs, *, teller: Teller, send_soon: SendSoon) -> None:
        self._objects = objects
        self._runs = runs
        self._teller = teller
        self._send_soon = send_soon

    async def start(self, upload: Upload, spool: Spool) -> str:
        """Return the id of the run on a zip, when the zip and the record are in the stores.

        Raises:
            TransientError: A store is away; starting again is safe.
        """
        started = time.monotonic()
        own = str(uuid4())
        run_id = await self._runs.holder(upload) or await self._begun(own, upload, spool)
        again = run_id != own
        metrics.runs_started.labels(upload.model.machine, str(again).lower()).inc()
        log.info(
            "run.started",
            institution=upload.institution,
            run_id=run_id,
            model_id=upload.model.id,
            again=again,
            size_bytes=upload.size_bytes,
            duration_s=round(time.monotonic() - started, 3),
        )
        return run_id

    async def _begun(self, run_id: str, upload: Upload, spool: Spool) -> str:
        told = self._told(run_id, upload)
        await self._runs.announce(run_id, upload)
        try:
            spool.file.seek(0)
            key = archive_key(upload.institution, run_id)
            await self._objects.put(key, spool.file, size_bytes=spool.size_bytes, content_type=_ZIP)
            begun = await self._runs.begin(run_id, upload, told)
        except RadbusError:
            await self._withdraw(run_id, upload)
            raise
        if begun == run_id:
            self._send_soon(run_id, [told])
        else:
            await self._withdraw(run_id, upload)
        return begun

    async def _withdraw(self, run_id: str, upload: Upload) -> None:
        """Erase what nobody will ask for; what cannot be erased now, the sweep finds by its record."""
        try:
            # Taken back first: a write that seemed to fail may have begun the run, and then the zip is needed.
            if await self._runs.withdraw(run_id):
                await self._objects.delete(archive_key(upload.institution, run_id))
                await self._runs.forget(run_id)
        except TransientError as error:
            log.warning("run.not_withdrawn", run_id=run_id, exc_info=error)

    def _told(self, run_id: str, upload: Upload) -> Outgoing:
        return self._teller.tell(
            JOB_REQUESTED,
            job_of(run_id, upload),
            subject=run_id,
            institution=upload.institution,
            event_id=event_id("run-started", run_id),
        )
