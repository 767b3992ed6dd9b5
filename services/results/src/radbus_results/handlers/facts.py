"""The facts that cases and inferences are made of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from radbus_contracts import identity
from radbus_contracts.envelope import Event
from radbus_contracts.facts import (
    InferenceCompletedV1,
    InferenceFailedV1,
    JobCompletedV1,
    JobFailedV1,
    JobRequestedV1,
    JobRetriedV1,
    SeriesCompletedV1,
    SeriesUnroutedV1,
)
from radbus_contracts.topology import INFERENCE_COMPLETED, INFERENCE_FAILED, inference_completed_key
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.outbox import OutboxRelay
from radbus_runtime.stages import Stage, stage

from radbus_results.adapters import metrics
from radbus_results.adapters.cases import Cases
from radbus_results.adapters.inferences import Inferences
from radbus_results.adapters.others import OtherRecords
from radbus_results.domain.inference import Context, Inference
from radbus_results.domain.inferring import infer_from

log = structlog.get_logger(__name__)


class Recorder:
    """Records what happened to series and jobs, and tells of results; every fact may come twice and in any order."""

    def __init__(
        self, cases: Cases, inferences: Inferences, others: OtherRecords, *, relay: OutboxRelay, teller: Teller
    ) -> None:
        self._cases = cases
        self._inferences = inferences
        self._others = others
        self._relay = relay
        self._teller = teller

    async def on_series_completed(self, event: Event[SeriesCompletedV1]) -> None:
        """Open the case of a series, or its next revision."""
        fact = event.data
        with _logged("case.series_recorded", series_instance_uid=fact.series_instance_uid, revision=fact.revision):
            await self._cases.record_series(event)

    async def on_series_unrouted(self, event: Event[SeriesUnroutedV1]) -> None:
        """Record that no use case is for a series."""
        fact = event.data
        with _logged("case.unrouted_recorded", series_instance_uid=fact.series_instance_uid, revision=fact.revision):
            await self._cases.record_unrouted(event)

    async def on_job_requested(self, event: Event[JobRequestedV1]) -> None:
        """Record that a job is under process."""
        if not event.data.series_instance_uids:
            return
        with _logged("case.job_recorded", job_id=event.data.job_id, revision=event.data.revision):
            await self._cases.record_requested(event)

    async def on_job_completed(self, event: Event[JobCompletedV1]) -> None:
        """Make the inference of a job, and tell of it."""
        fact = event.data
        if not fact.series_instance_uids:  # a run on an uploaded archive: its result is read from the run
            return
        with stage(Stage.CONCLUDE):
            await self._record_completed(event)

    async def _record_completed(self, event: Event[JobCompletedV1]) -> None:
        fact = event.data
        with _logged("inference.recorded", job_id=fact.job_id, use_case=fact.use_case, revision=fact.revision) as line:
            outcomes = await self._others.outcomes(event.institution, fact)
            context = await self._others.context(event.institution, fact, completed_at=event.time)
            inference = infer_from(fact, outcomes, context)
            message = self._completed(inference)
            line.update(inference_id=inference.id, triage=inference.triage.value, usable=inference.usable)
            new = await self._inferences.record(inference, message)
            if not new:
                # What was recorded at first stays, whatever can be read by now.
                inference = await self._inferences.get(event.institution, inference.id) or inference
            await self._cases.record_completed(event, inference)
            await self._inferences.supersede(inference)
            if new:
                await self._measure(inference, context)
                # Last, so that a subscriber that asks at once finds the result; after a crash the sweep sends it.
                self._relay.send_soon(self._inferences.collection, inference.id, [message])

    async def on_job_failed(self, event: Event[JobFailedV1]) -> None:
        """Record that there will be no result, and tell of it."""
        fact = event.data
        if not fact.series_instance_uids:
            return
        with _logged("inference.failed", job_id=fact.job_id, use_case=fact.use_case, cancelled=fact.cancelled):
            message = self._failed(event)
            case_id = await self._cases.record_failed(event, message)
            if case_id is not None:
                self._relay.send_soon(self._cases.collection, case_id, [message])

    async def on_job_retried(self, event: Event[JobRetriedV1]) -> None:
        """Record that a job that had ended is under process once more."""
        fact = event.data
        with _logged("case.retry_recorded", job_id=fact.job_id, retries=fact.retries):
            await self._cases.record_retried(event)

    async def _measure(self, inference: Inference, context: Context) -> None:
        metrics.results_recorded.labels(inference.use_case, inference.triage.value).inc()
        if context.waited_since is not None:
            waited = await self._others.now() - context.waited_since
            metrics.accepted_to_result_seconds.labels(inference.use_case).observe(max(0.0, waited.total_seconds()))

    def _completed(self, inference: Inference) -> Outgoing:
        fact = InferenceCompletedV1(
            inference_id=inference.id,
            job_id=inference.job_id,
            use_case=inference.use_case,
            study_instance_uid=inference.study_instance_uid,
            series_instance_uids=inference.series_instance_uids,
            subject_uid=inference.subject_uid,
            revision=inference.revision,
            triage=inference.triage,
        )
        return self._teller.tell(
            INFERENCE_COMPLETED,
            fact,
            subject=inference.id,
            institution=inference.institution,
            routing_key=inference_completed_key(inference.use_case, inference.triage),
            event_id=identity.event_id("inference.completed", inference.id),
        )

    def _failed(self, event: Event[JobFailedV1]) -> Outgoing:
        fact = event.data
        return self._teller.tell(
            INFERENCE_FAILED,
            InferenceFailedV1(
                job_id=fact.job_id,
                use_case=fact.use_case,
                study_instance_uid=fact.study_instance_uid,
                series_instance_uids=fact.series_instance_uids,
                subject_uid=fact.subject_uid,
                revision=fact.revision,
                reason=fact.reason,
            ),
            subject=fact.job_id,
            institution=event.institution,
            event_id=identity.event_id("inference.failed", fact.job_id, *([str(fact.retries)] if fact.retries else [])),
        )


@contextmanager
def _logged(event: str, **ids: str | int | bool) -> Iterator[dict[str, object]]:
    """Say what was done in one line, with its ids and its duration, once it is done."""
    started = time.monotonic()
    line: dict[str, object] = dict(ids)
    yield line
    log.info(event, **line, duration_s=round(time.monotonic() - started, 4))
