"""What becomes of a message whose handler failed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aio_pika.exceptions import ChannelInvalidStateError
from radbus_contracts.errors import PermanentError, ServerAwayError, TransientError
from radbus_contracts.topology import EVENTS, RETRY_STEPS_S, Queue, retry_exchange
from radbus_runtime.settlement import RETRIES_HEADER, Settlement

QUEUE = Queue("test.series-seen", EVENTS, "series.seen.v1")
LAST = retry_exchange(RETRY_STEPS_S[-1])
A_DAY_OF_RETRIES = len(RETRY_STEPS_S) + 24 * 3600 // RETRY_STEPS_S[-1]


@dataclass
class Delivery:
    """A message as the broker delivers it, and what was answered."""

    headers: dict[str, Any] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    channel_is_gone: bool = False
    message_id: str = "m"

    async def ack(self) -> None:
        self._answer("ack")

    async def reject(self, *, requeue: bool) -> None:
        self._answer("requeue" if requeue else "reject")

    def _answer(self, answer: str) -> None:
        if self.channel_is_gone:
            raise ChannelInvalidStateError("the channel is closed")
        self.answers.append(answer)


@dataclass
class Copies:
    """Where copies went; `error` is raised instead of publishing."""

    made: list[tuple[str, str]] = field(default_factory=list)
    error: Exception | None = None
    headers: dict[str, object] = field(default_factory=dict)

    async def __call__(self, message: Any, *, exchange: str, routing_key: str, headers: dict[str, object]) -> None:
        if self.error is not None:
            raise self.error
        self.made.append((exchange, routing_key))
        self.headers = headers


async def settled(delivery: Delivery, error: Exception, copies: Copies, queue: Queue = QUEUE) -> None:
    async def fail(_: Any) -> None:
        raise error

    await Settlement(queue, fail, copies)(delivery)


@pytest.mark.parametrize("retries", [len(RETRY_STEPS_S), A_DAY_OF_RETRIES - 1])
async def test_a_message_outlasts_a_server_that_is_away_for_longer_than_the_ladder(retries):
    delivery, copies = Delivery({RETRIES_HEADER: retries}), Copies()

    await settled(delivery, ServerAwayError("MongoDB is away"), copies)

    assert copies.made == [(LAST, QUEUE.name)]
    assert delivery.answers == ["ack"]


@pytest.mark.parametrize(
    ("retries", "error"),
    [(A_DAY_OF_RETRIES, ServerAwayError("away")), (len(RETRY_STEPS_S), TransientError("x")), (0, PermanentError("x"))],
)
async def test_what_has_no_more_chances_is_among_the_dead(retries, error):
    delivery, copies = Delivery({RETRIES_HEADER: retries}), Copies()

    await settled(delivery, error, copies)

    assert copies.made == [("", QUEUE.dead)]
    assert delivery.answers == ["ack"]


async def test_what_is_stale_in_seconds_is_dropped_instead_of_coming_back_later():
    delivery, copies = Delivery(), Copies()

    await settled(delivery, TransientError("MongoDB is away"), copies, replace(QUEUE, expires_s=30))

    assert copies.made == []
    assert delivery.answers == ["ack"]


@pytest.mark.parametrize("error", [TransientError("not confirmed"), ValueError("a header that cannot be written")])
async def test_a_message_whose_copy_could_not_be_made_goes_back_to_its_queue(error):
    delivery, copies = Delivery(), Copies(error=error)

    await settled(delivery, TransientError("x"), copies)

    assert delivery.answers == ["requeue"]


@pytest.mark.parametrize("retries", [b"many", "9" * 5000])
async def test_a_count_of_retries_that_is_no_number_counts_as_none(retries):
    delivery, copies = Delivery({RETRIES_HEADER: retries}), Copies()

    await settled(delivery, TransientError("x"), copies)

    assert copies.made == [(retry_exchange(RETRY_STEPS_S[0]), QUEUE.name)]


async def test_a_channel_that_is_gone_leaves_the_message_to_the_broker():
    delivery, copies = Delivery(channel_is_gone=True), Copies(error=TransientError("not confirmed"))

    await settled(delivery, TransientError("x"), copies)

    assert delivery.answers == []


@pytest.mark.parametrize("bomb", [{"x": "x" * 100_000}, {str(number): 1 for number in range(10_000)}])
async def test_headers_that_a_copy_has_no_room_for_are_left_out(bomb):
    delivery, copies = Delivery({RETRIES_HEADER: 1, **bomb}), Copies()

    await settled(delivery, TransientError("x"), copies)

    assert copies.headers.keys() == {RETRIES_HEADER, "x-radbus-queue", "x-radbus-reason"}
    assert copies.headers[RETRIES_HEADER] == 2
