"""Tell subscribers of stored instances: a courtesy that never delays an answer and may be lost (invariant 4)."""

from __future__ import annotations

import asyncio
from typing import Final

from radbus_contracts.errors import TransientError
from radbus_contracts.facts import InstanceStoredV1
from radbus_contracts.topology import INSTANCE_STORED
from radbus_runtime.bus import Bus
from radbus_runtime.events import Outgoing, Teller

from radbus_ingest.adapters import metrics
from radbus_ingest.domain.outcomes import Stored

_PENDING_LIMIT: Final = 10_000
_SENDERS: Final = 4


class Courtesy:
    """A bounded queue of `instance.stored` events and the tasks that empty it."""

    def __init__(self, bus: Bus, teller: Teller) -> None:
        self._bus = bus
        self._teller = teller
        self._pending: asyncio.Queue[Outgoing] = asyncio.Queue(_PENDING_LIMIT)

    def tell_soon(self, institution: str, stored: Stored) -> None:
        """Publish when there is time; dropped when too many wait."""
        if self._pending.full():
            metrics.courtesies_dropped.inc()
            return
        instance = stored.instance
        data = InstanceStoredV1(
            study_instance_uid=instance.study_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            size_bytes=stored.size_bytes,
        )
        self._pending.put_nowait(
            self._teller.tell(INSTANCE_STORED, data, subject=instance.sop_instance_uid, institution=institution)
        )

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_SENDERS):
                group.create_task(self._send())

    async def _send(self) -> None:
        while True:
            message = await self._pending.get()
            try:
                await self._bus.publish(message)
            except TransientError:
                metrics.courtesies_dropped.inc()
