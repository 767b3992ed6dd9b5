"""The facts that webhooks are told of: each opens a delivery for every receiver that wants it."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from radbus_contracts.envelope import Event
from radbus_contracts.facts import InferenceCompletedV1, InferenceFailedV1, SeriesUnroutedV1, TriageStatus
from radbus_runtime.tracing import current_traceparent
from radbus_runtime.webhooks.deliveries import Deliveries, Telling
from radbus_runtime.webhooks.subscriptions import Webhooks

log = structlog.get_logger(__name__)


class WebhookOpener:
    """Writes down who is to be told; every fact may come twice."""

    def __init__(
        self, webhooks: Webhooks, deliveries: Deliveries, *, give_up_s: float, wake: Callable[[], None]
    ) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._give_up_s = give_up_s
        self._wake = wake

    async def on_completed(self, event: Event[InferenceCompletedV1]) -> None:
        """A result can be read."""
        fact = event.data
        await self._open(event, fact.series_instance_uids, use_case=fact.use_case, triage=fact.triage)

    async def on_failed(self, event: Event[InferenceFailedV1]) -> None:
        """There will be no result."""
        await self._open(event, event.data.series_instance_uids, use_case=event.data.use_case)

    async def on_unrouted(self, event: Event[SeriesUnroutedV1]) -> None:
        """No use case is for it."""
        await self._open(event, (event.data.series_instance_uid,))

    async def _open(
        self,
        event: Event[InferenceCompletedV1] | Event[InferenceFailedV1] | Event[SeriesUnroutedV1],
        series_instance_uids: tuple[str, ...],
        *,
        use_case: str | None = None,
        triage: TriageStatus | None = None,
    ) -> None:
        webhooks = await self._webhooks.list(event.institution)
        telling = Telling(
            event_id=event.id,
            type=event.type,
            body=event.model_dump_json(),
            traceparent=current_traceparent() or event.traceparent,
            job_id=None if isinstance(event.data, SeriesUnroutedV1) else event.data.job_id,
            study_instance_uid=event.data.study_instance_uid,
            series_instance_uids=series_instance_uids,
        )
        wanted = [each for each in webhooks if each.wants(event.type, use_case=use_case, triage=triage)]
        for webhook in wanted:
            await self._deliveries.open(webhook, telling, give_up_s=self._give_up_s)
        if wanted:
            log.info("webhooks.opened", event_id=event.id, event_type=event.type, webhooks=len(wanted))
            self._wake()
