"""The loop that calls webhooks: at least once each, several at a time, no dead receiver in the way of the others."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import structlog
from opentelemetry.trace import SpanKind, Status, StatusCode
from radbus_contracts.envelope import CONTENT_TYPE
from radbus_contracts.errors import RadbusError
from radbus_runtime.progress import beat
from radbus_runtime.tracing import continued, current_traceparent
from radbus_runtime.webhooks.deliveries import REMOVED, TEST_TYPE, Deliveries, Try
from radbus_runtime.webhooks.signing import WebhookKeys
from radbus_runtime.webhooks.subscriptions import Webhook, Webhooks

from radbus_results.adapters import metrics
from radbus_results.adapters.receivers import Answer, Receivers
from radbus_results.domain.redelivery import Line, again_after

log = structlog.get_logger(__name__)

_LOOK_EVERY_S: Final = 1.0
_MEASURE_EVERY_S: Final = 10.0
_NO_KEY: Final = "the results service has no RADBUS_WEBHOOK_KEY"


class Courier:
    """Takes what is due and calls its receiver; what it cannot note is tried again by whoever comes."""

    def __init__(
        self,
        webhooks: Webhooks,
        deliveries: Deliveries,
        receivers: Receivers,
        *,
        keys: WebhookKeys | None,
        at_once: int,
    ) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._receivers = receivers
        self._keys = keys
        self._places = asyncio.Semaphore(at_once)
        self._due = asyncio.Event()
        self._lines: defaultdict[str, Line] = defaultdict(Line)

    def wake(self) -> None:
        """Look at once: something is due, or may be tried now."""
        self._due.set()

    async def run(self) -> None:
        """Call until cancelled."""
        try:
            async with asyncio.TaskGroup() as calls:
                calls.create_task(self._keep_measuring())
                while True:
                    beat("webhooks")
                    await self._places.acquire()
                    self._due.clear()
                    made = await self._claim()
                    if made is None:
                        self._places.release()
                        await self._wait()
                    else:
                        self._lines[made.webhook_id].called += 1
                        calls.create_task(self._call(made))
        finally:
            await self._receivers.close()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await self._due.wait()

    async def _claim(self) -> Try | None:
        now = time.monotonic()
        try:
            return await self._deliveries.claim(but=[each for each, line in self._lines.items() if line.is_busy(now)])
        except RadbusError as error:
            log.warning("webhooks.not_looked", exc_info=error)
            return None

    async def _call(self, made: Try) -> None:
        line = self._lines[made.webhook_id]
        try:
            await self._deliver(made, line)
        except RadbusError as error:
            log.warning("webhook.not_noted", webhook_id=made.webhook_id, event_id=made.event_id, exc_info=error)
        finally:
            line.called -= 1
            if line == Line():
                del self._lines[made.webhook_id]
            self._places.release()
            self.wake()

    async def _deliver(self, made: Try, line: Line) -> None:
        ids = {"webhook_id": made.webhook_id, "event_id": made.event_id, "attempt": made.number}
        webhook = await self._webhooks.get(made.webhook_id)
        if webhook is None:
            line.note(time.monotonic(), is_away=False)
            await self._deliveries.not_delivered(made, REMOVED, again_s=None)
            log.info("webhook.removed", **ids)
            return
        answer = await self._tell(webhook, made)
        line.note(time.monotonic(), is_away=answer.is_away)
        if answer.fault is None:
            await self._deliveries.delivered(made)
            metrics.webhook_deliveries_ended.labels("delivered").inc()
            log.info("webhook.delivered", **ids)
            return
        again_s = again_after(made.tries, asked_s=answer.retry_after_s, chance=random.random())  # noqa: S311
        if not await self._deliveries.not_delivered(made, answer.fault, again_s=again_s):
            log.warning("webhook.delayed", **ids, reason=answer.fault, again_s=round(again_s))
        elif made.type == TEST_TYPE:
            log.info("webhook.test_failed", **ids, reason=answer.fault)
        else:
            metrics.webhook_deliveries_ended.labels("failed").inc()
            log.error("webhook.failed", **ids, reason=answer.fault)

    async def _tell(self, webhook: Webhook, made: Try) -> Answer:
        if self._keys is None:
            return Answer(_NO_KEY)
        attributes = {"radbus.webhook": webhook.id, "radbus.event_type": made.type}
        with (
            continued("webhook", made.traceparent, attributes, kind=SpanKind.CLIENT) as span,
            metrics.webhook_call_seconds.time(),
        ):
            headers = self._keys.headers(webhook.id, made.event_id, datetime.now(UTC), made.body)
            headers |= {"content-type": CONTENT_TYPE, "user-agent": "radbus"}
            if traceparent := current_traceparent():
                headers["traceparent"] = traceparent
            answer = await self._receivers.tell(webhook.url, made.body.encode(), headers)
            if answer.fault is not None:
                span.set_status(Status(StatusCode.ERROR, answer.fault))
        return answer

    async def _keep_measuring(self) -> None:
        while True:
            try:
                await self._measure()
            except RadbusError as error:
                log.warning("webhooks.not_measured", exc_info=error)
            await asyncio.sleep(_MEASURE_EVERY_S)

    async def _measure(self) -> None:
        metrics.webhook_deliveries_waiting.set(await self._deliveries.waiting())
        metrics.oldest_webhook_delivery_seconds.set(await self._deliveries.oldest_waiting_s())
