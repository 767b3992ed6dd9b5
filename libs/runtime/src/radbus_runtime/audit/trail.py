"""The audit trail of one service: events are added to it, and none is ever changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, cast

from radbus_contracts.errors import RadbusError, TransientError
from radbus_storage.documents import Documents, Index, Journal
from radbus_storage.operator_records import AuditRecord

from radbus_runtime.audit.access import Access
from radbus_runtime.audit.adding import log_added, log_not_added
from radbus_runtime.audit.codes import Kind
from radbus_runtime.audit.events import Asked, event_of_access, event_of_service
from radbus_runtime.audit.repeats import Repeats
from radbus_runtime.progress import beat

AUDIT_INDEXES: Final = (
    Index([("objects.uid", 1), ("institution", 1), ("at", 1)]),
    Index([("at", 1)]),
)
_BATCH_LIMIT: Final = 500
_LOOK_EVERY_S: Final = 5.0


class AuditTrail:
    """Writes events; those of requests that end together go in one insert."""

    def __init__(self, documents: Documents, service: str) -> None:
        self.collection: Journal = documents.audit
        self._service = service
        self._repeats = Repeats()
        self._waiting: list[tuple[AuditRecord, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._soon: set[asyncio.Task[None]] = set()

    async def record_access(self, access: Access, asked: Asked) -> None:
        """Record a request, before it is answered when it reached anything; count it where it was refused at the door.

        Raises:
            TransientError: It is not recorded, so it must not be answered.
        """
        record = event_of_access(self._service, access, asked)
        if not access.admitted:
            caller = access.principal.caller if access.principal else ""
            if self._repeats.take((asked.address or "", caller), record) is None:
                return
        if not access.admitted or (asked.status >= 500 and access.outcome is None):
            # Nothing is handed out, and it may be this very store that is away: the client need not wait for it.
            self._record_soon(record)
        else:
            await self.record(record)

    async def record_service(self, kind: Kind) -> None:
        """Record that the service starts or stops."""
        await self.record(event_of_service(self._service, kind))

    async def record(self, record: AuditRecord) -> None:
        """Add an event; it is there when this returns.

        Raises:
            TransientError: It is not; the log has it.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        try:
            await written
        except RadbusError as error:
            log_not_added(record, error)
            raise
        log_added(record)

    async def run(self) -> None:
        """Record what was counted, as its windows end."""
        while True:
            beat("audit trail")
            await asyncio.sleep(_LOOK_EVERY_S)
            for record in self._repeats.ended():
                self._record_soon(record)

    async def close(self) -> None:
        """Record what is counted so far, at the service's end."""
        for record in self._repeats.ended(all_of_them=True):
            self._record_soon(record)
        if self._soon:
            await asyncio.wait(self._soon)

    def _record_soon(self, record: AuditRecord) -> None:
        task = asyncio.create_task(self._record_or_leave(record))
        self._soon.add(task)
        task.add_done_callback(self._soon.discard)

    async def _record_or_leave(self, record: AuditRecord) -> None:
        with suppress(TransientError):
            await self.record(record)

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH_LIMIT], self._waiting[_BATCH_LIMIT:]
            try:
                await self.collection.insert_many([cast("dict[str, Any]", record) for record, _ in batch])
            except RadbusError as error:
                _settle(batch, error)
            else:
                _settle(batch, None)


def _settle(batch: Sequence[tuple[AuditRecord, asyncio.Future[None]]], error: RadbusError | None) -> None:
    for _, written in batch:
        if written.done():  # its request was cancelled
            continue
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)
