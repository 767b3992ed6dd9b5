"""Complete series and studies that have become quiet: any replica may, one does, and a late instance makes it again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from radbus_contracts.errors import PermanentError, RadbusError, TransientError
from radbus_contracts.facts import SeriesCompletedV1, Source, StudyCompletedV1
from radbus_contracts.identity import event_id
from radbus_contracts.topology import SERIES_COMPLETED, STUDY_COMPLETED
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.outbox import OutboxRelay
from radbus_runtime.progress import beat
from radbus_runtime.stages import Stage, stage
from radbus_runtime.tracing import continued
from radbus_storage.documents import Document

from radbus_ingest.adapters import metrics
from radbus_ingest.adapters.records import InstanceRecords, SeriesRecords, StudyRecords
from radbus_ingest.domain.completeness import series_digest
from radbus_ingest.domain.summary import SeriesSummary

log = structlog.get_logger(__name__)

_DUE_LIMIT: Final = 100
_AT_A_TIME: Final = 4
_SERIES_RECEIVING_S: Final = 1.0
_FAILED_S: Final = 60.0


class Completer:
    """Finds what is quiet and completes it; all its state is in the records."""

    def __init__(
        self,
        instances: InstanceRecords,
        series: SeriesRecords,
        studies: StudyRecords,
        *,
        relay: OutboxRelay,
        teller: Teller,
        sweep_every_s: float,
    ) -> None:
        self._instances = instances
        self._series = series
        self._studies = studies
        self._relay = relay
        self._teller = teller
        self._sweep_every_s = sweep_every_s
        self._soon = asyncio.Event()

    def complete_soon(self) -> None:
        """Sweep at once instead of at the next turn."""
        self._soon.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            beat("completeness", within_s=60 + 2 * self._sweep_every_s)
            try:
                await self.sweep_once()
            except RadbusError as error:
                log.warning("completeness.sweep_failed", exc_info=error)
                await asyncio.sleep(self._sweep_every_s)
            try:
                async with asyncio.timeout(self._sweep_every_s):
                    await self._soon.wait()
            except TimeoutError:
                continue
            self._soon.clear()

    async def sweep_once(self) -> None:
        """Complete every series, then every study, that has been quiet for its time."""
        await self._each(self._series, self.complete_series)
        await self._each(self._studies, self.complete_study)

    async def _each(
        self, records: SeriesRecords | StudyRecords, complete: Callable[[Document], Awaitable[None]]
    ) -> None:
        slots = asyncio.Semaphore(_AT_A_TIME)

        async def one(record: Document) -> None:
            async with slots:
                try:
                    with continued("complete", record.get("traceparent"), links=record.get("traceparents", ())):
                        await complete(record)
                except TransientError as error:  # the next sweep finds it again
                    log.warning("completeness.delayed", record=record["_id"], exc_info=error)
                except (PermanentError, LookupError, TypeError, ValueError) as error:
                    # The record is not as it should be: it must not hold up the others.
                    log.exception("completeness.failed", record=record["_id"], exc_info=error)
                    await records.postpone(record, _FAILED_S)

        due = await records.due(limit=_DUE_LIMIT)
        results = await asyncio.gather(*(one(record) for record in due), return_exceptions=True)
        for error in filter(None, results):
            raise error

    async def complete_series(self, record: Document) -> None:
        """Complete a series as its next revision, or as the same one when no instance has come since."""
        with stage(Stage.COMPLETE):
            await self._complete_series(record)

    async def _complete_series(self, record: Document) -> None:
        started = time.monotonic()
        institution, series_instance_uid = record["institution"], record["series_instance_uid"]
        summary = SeriesSummary()
        async for sop_instance_uid, elements in self._instances.of_series(institution, series_instance_uid):
            summary.add(sop_instance_uid, elements)
        if not summary.instance_count or summary.digest == record["instances_digest"]:
            await self._series.complete(record, {}, None)
            return
        elements = await self._instances.elements_of(institution, summary.representative)
        revision = record["revision"] + 1
        modality = str(elements.get("Modality") or record["modality"])
        news = {
            "revision": revision,
            "modality": modality,
            "instance_count": summary.instance_count,
            "instances_digest": summary.digest,
            "elements": elements,
            "all": summary.distinct,
        }
        told = self._tell_series(record, revision=revision, modality=modality, instance_count=summary.instance_count)
        if not await self._series.complete(record, news, told):
            return  # touched since: it is not complete, or another replica was faster
        self._relay.send_soon(self._series.collection, record["_id"], [told])
        metrics.completions.labels("series").inc()
        log.info(
            "series.completed",
            institution=institution,
            series_instance_uid=series_instance_uid,
            study_instance_uid=record["study_instance_uid"],
            revision=revision,
            instance_count=summary.instance_count,
            duration_s=round(time.monotonic() - started, 3),
        )

    async def complete_study(self, record: Document) -> None:
        """Complete a study when none of its series is receiving; else look again later."""
        institution, study_instance_uid = record["institution"], record["study_instance_uid"]
        series = await self._series.of_study(institution, study_instance_uid)
        if any(each["state"] == "receiving" for each in series):
            await self._studies.postpone(record, _SERIES_RECEIVING_S)
            return
        digest = series_digest((each["series_instance_uid"], each["revision"]) for each in series)
        if not series or digest == record["series_digest"]:
            await self._studies.complete(record, {}, None)
            return
        revision = record["revision"] + 1
        uids = tuple(sorted(each["series_instance_uid"] for each in series))
        told = self._tell_study(record, revision=revision, series_instance_uids=uids)
        news = {"revision": revision, "series_instance_uids": list(uids), "series_digest": digest}
        if not await self._studies.complete(record, news, told):
            return
        self._relay.send_soon(self._studies.collection, record["_id"], [told])
        metrics.completions.labels("study").inc()
        log.info(
            "study.completed",
            institution=institution,
            study_instance_uid=study_instance_uid,
            revision=revision,
            series_count=len(uids),
        )

    def _tell_series(self, record: Document, *, revision: int, modality: str, instance_count: int) -> Outgoing:
        data = SeriesCompletedV1(
            study_instance_uid=record["study_instance_uid"],
            series_instance_uid=record["series_instance_uid"],
            revision=revision,
            modality=modality,
            instance_count=instance_count,
            source=Source.model_validate(record["source"]),
            accepted_at=record.get("accepted_at"),
        )
        return self._teller.tell(
            SERIES_COMPLETED,
            data,
            subject=record["series_instance_uid"],
            institution=record["institution"],
            event_id=event_id("series-completed", record["_id"], str(revision)),
        )

    def _tell_study(self, record: Document, *, revision: int, series_instance_uids: tuple[str, ...]) -> Outgoing:
        data = StudyCompletedV1(
            study_instance_uid=record["study_instance_uid"],
            series_instance_uids=series_instance_uids,
            revision=revision,
            source=Source.model_validate(record["source"]),
            accepted_at=record.get("accepted_at"),
        )
        return self._teller.tell(
            STUDY_COMPLETED,
            data,
            subject=record["study_instance_uid"],
            institution=record["institution"],
            event_id=event_id("study-completed", record["_id"], str(revision)),
        )
