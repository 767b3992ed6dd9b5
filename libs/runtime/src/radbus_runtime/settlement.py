"""Settlement: the one place where an error becomes an answer to the broker."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

import structlog
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelInvalidStateError
from faststream.rabbit import RabbitMessage
from radbus_contracts.errors import PermanentError, ServerAwayError
from radbus_contracts.topology import RETRY_STEPS_S, Queue, retry_exchange

from radbus_runtime import metrics
from radbus_runtime.headers import DIED_AT_HEADER, QUEUE_HEADER, REASON_HEADER, REPLAYS_HEADER, RETRIES_HEADER
from radbus_runtime.logs import describe
from radbus_runtime.tracing import continued

log = structlog.get_logger(__name__)

# A server may be away for longer than the ladder is; what is dead then needs an operator, and no message is at fault.
_TRIES_WHILE_AWAY = 24 * 3600 // RETRY_STEPS_S[-1]

# All headers of a message fit into one frame of 128 KiB, those that the broker will add among them; what does not
# would cost the connection, each time that the message comes back.
_HEADERS_LIMIT = 32 * 1024
_HEADER_LIMIT = 8 * 1024
_RETRIES_DIGITS = 6

Consume = Callable[[RabbitMessage], Awaitable[None]]


class CopyTo(Protocol):
    """Publishes a copy of a message and waits until the broker has confirmed it."""

    async def __call__(
        self, message: RabbitMessage, *, exchange: str, routing_key: str, headers: dict[str, object]
    ) -> None:
        """Raise TransientError when it was not confirmed."""
        ...


class Settlement:
    """Acknowledges what was done; what failed goes up the retry ladder or to the dead letters, then is acknowledged."""

    def __init__(self, queue: Queue, consume: Consume, copy_to: CopyTo) -> None:
        self._queue = queue
        self._consume = consume
        self._copy_to = copy_to

    async def __call__(self, message: RabbitMessage) -> None:
        """Run the handler on a message and settle it."""
        started = time.monotonic()
        traceparent = _text(message.headers.get("traceparent"))
        with (
            continued(f"consume {self._queue.name}", traceparent) as span,
            structlog.contextvars.bound_contextvars(message_id=message.message_id, queue=self._queue.name),
        ):
            outcome = await self._settled(message)
            span.set_attribute("radbus.outcome", outcome)
        metrics.messages_settled.labels(self._queue.name, outcome).inc()
        metrics.message_seconds.labels(self._queue.name).observe(time.monotonic() - started)

    async def _settled(self, message: RabbitMessage) -> str:
        try:
            outcome = await self._done_or_aside(message)
            if outcome == "rejected":
                # Rejected, not nacked: only a reject counts against the delivery limit.
                await message.reject(requeue=True)
            else:
                await message.ack()
        except (AMQPError, ChannelInvalidStateError, ConnectionError) as error:
            log.warning("message.not_settled", exc_info=error)  # the connection is gone: the broker redelivers it
            return "lost"
        return outcome

    async def _done_or_aside(self, message: RabbitMessage) -> str:
        try:
            await self._consume(message)
        except Exception as error:  # noqa: BLE001 - here every error becomes an answer
            try:
                return await self._put_aside(message, error)
            except Exception as fault:
                # The copy was not confirmed, or cannot be made at all.
                log.warning("message.rejected", exc_info=fault)
                return "rejected"
        return "done"

    async def _put_aside(self, message: RabbitMessage, error: Exception) -> str:
        retries = _count(message.headers.get(RETRIES_HEADER))
        headers: dict[str, object] = {
            **_kept(message.headers),
            QUEUE_HEADER: self._queue.name,
            REASON_HEADER: describe(error)[:500],
        }
        step_s = _next_step_s(error, retries)
        if step_s is None:
            log.error("message.gave_up", retries=retries, exc_info=error)
            headers[DIED_AT_HEADER] = datetime.now(UTC).isoformat(timespec="seconds")
            await self._copy_to(message, exchange="", routing_key=self._queue.dead, headers=headers)
            return "dead"
        if self._queue.expires_s is not None:
            log.info("message.dropped", exc_info=error)  # later it would tell what is no longer so
            return "dropped"
        log.warning("message.put_off", retries=retries, again_in_s=step_s, exc_info=error)
        headers[RETRIES_HEADER] = retries + 1
        await self._copy_to(message, exchange=retry_exchange(step_s), routing_key=self._queue.name, headers=headers)
        return "retried"


def _next_step_s(error: Exception, retries: int) -> int | None:
    """Return after what time a message is tried again, or None."""
    if isinstance(error, PermanentError):
        return None
    if retries < len(RETRY_STEPS_S):
        return RETRY_STEPS_S[retries]
    is_away = isinstance(error, ServerAwayError) and retries < len(RETRY_STEPS_S) + _TRIES_WHILE_AWAY
    return RETRY_STEPS_S[-1] if is_away else None


def _kept(headers: Mapping[str, object]) -> Mapping[str, object]:
    """Return the headers that a copy keeps: all, or radbus's own where there is no room for all."""
    if len(repr(headers)) <= _HEADERS_LIMIT:
        return headers
    own = (name for name in (RETRIES_HEADER, REPLAYS_HEADER) if len(repr(headers.get(name))) <= _HEADER_LIMIT)
    return {name: headers[name] for name in own if name in headers}


def _count(header: object) -> int:
    text = _text(header) or ""
    return int(text) if text.isdecimal() and len(text) <= _RETRIES_DIGITS else 0


def _text(value: object) -> str | None:
    if value is None:
        return None
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
