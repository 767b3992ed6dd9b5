"""Webhooks on the real database and broker: told at least once, tried again, none in the way of another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from radbus_contracts.facts import TriageStatus
from radbus_results.adapters.receivers import Receivers
from radbus_results.handlers.courier import Courier
from radbus_runtime.webhooks.deliveries import DELIVERY_INDEXES, Deliveries, Telling
from radbus_runtime.webhooks.signing import WebhookKeys
from radbus_runtime.webhooks.subscriptions import WEBHOOKS_LIMIT, Webhook, WebhookError, Webhooks
from radbus_storage import records
from radbus_storage.documents import Document, Documents
from radbus_testing.programs import settings_of
from radbus_testing.receiver import Call, Reply, WebhookReceiver
from radbus_testing.waiting import until

from tests.integration.results.world import SERIES, STUDY

pytestmark = pytest.mark.stack

KEYS = WebhookKeys(b"a key of these tests")
WITHIN_S = 20
COMPLETED = "radbus.inference.completed.v1"


class Site:
    """The records of webhooks, and couriers that read them."""

    def __init__(self, documents: Documents, institution: str) -> None:
        self.institution = institution
        self.documents = documents
        self.webhooks, self.deliveries = Webhooks(documents), Deliveries(documents)

    async def tell(self, webhook: Webhook, *, give_up_s: float = 3600, event_id: str | None = None) -> str:
        event_id = event_id or str(uuid4())
        body = f'{{"id": "{event_id}"}}'
        telling = Telling(
            event_id=event_id,
            type=COMPLETED,
            body=body,
            traceparent=None,
            study_instance_uid=STUDY,
            series_instance_uids=(SERIES,),
        )
        return await self.deliveries.open(webhook, telling, give_up_s=give_up_s)

    async def in_state(self, delivery_id: str, state: str) -> Document:
        async def look() -> Document | None:
            found = await self.deliveries.get(delivery_id)
            return found if found is not None and found["state"] == state else None

        return await until(look, timeout_s=WITHIN_S, what=f"delivery that is {state}")

    async def tried(self, delivery_id: str, reason: str) -> Document:
        async def look() -> Document | None:
            found = await self.deliveries.get(delivery_id)
            return found if found is not None and reason in (found["reason"] or "") else None

        return await until(look, timeout_s=WITHIN_S, what=f"try that ended with {reason}")

    async def due_now(self, delivery_id: str) -> None:
        where = {"_id": delivery_id, "state": "waiting"}
        assert await self.documents[records.DELIVERIES].update(where, [{"$set": {"try_at": "$$NOW"}}])

    @asynccontextmanager
    async def courier(self, *, deadline_s: float = 5, keys: WebhookKeys | None = KEYS) -> AsyncIterator[Courier]:
        receivers = Receivers(deadline_s=deadline_s, at_once=8)
        courier = Courier(self.webhooks, self.deliveries, receivers, keys=keys, at_once=8)
        running = asyncio.create_task(courier.run())
        try:
            yield courier
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=5)


@pytest.fixture
async def site(stack, institution) -> AsyncIterator[Site]:
    # A database of its own: a service that runs beside would call what these couriers are to call.
    name = f"radbus-webhooks-{institution}"
    documents = Documents(settings_of(stack.environment() | {"RADBUS_MONGO_DATABASE": name}).documents)
    await documents[records.DELIVERIES].ensure_indexes(DELIVERY_INDEXES)
    yield Site(documents, institution)
    for each in (records.DELIVERIES, records.WEBHOOKS):
        await documents[each].delete({})
    documents.close()


@pytest.fixture
def receiver() -> Any:
    with WebhookReceiver() as listening:
        yield listening


async def test_an_event_is_told_with_a_signature_that_its_receiver_can_check(site, receiver):
    webhook = await site.webhooks.add(site.institution, receiver.url)

    async with site.courier():
        told = await site.in_state(await site.tell(webhook), "delivered")

    assert receiver.events(KEYS.secret_of(webhook.id)) == [{"id": told["event_id"]}]
    (call,) = receiver.calls
    assert call.headers["webhook-id"] == told["event_id"]
    assert call.headers["content-type"] == "application/cloudevents+json"
    assert call.headers["user-agent"] == "radbus"
    assert told["attempts"] == 1
    assert told["reason"] is None


async def test_the_same_event_opened_again_is_told_once(site, receiver):
    webhook = await site.webhooks.add(site.institution, receiver.url)

    async with site.courier() as courier:
        first = await asyncio.gather(*(site.tell(webhook, event_id="e-1") for _ in range(8)))
        await site.in_state(first[0], "delivered")
        again = await site.tell(webhook, event_id="e-1")
        courier.wake()
        last = await site.tell(webhook)
        await site.in_state(last, "delivered")

    assert {*first, again} == {f"{webhook.id}/e-1"}
    assert [call.headers["webhook-id"] for call in receiver.calls].count("e-1") == 1


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 429, 500, 503])
async def test_what_a_receiver_does_not_take_is_tried_again_later_by_the_same_id(site, receiver, status):
    receiver.reply = lambda _: Reply(status, headers=(("Location", receiver.url),))
    webhook = await site.webhooks.add(site.institution, receiver.url)

    async with site.courier():
        delivery = await site.tell(webhook)
        waiting = await site.tried(delivery, f"answered {status}")
        assert waiting["state"] == "waiting"
        assert 3.5 <= (waiting["try_at"] - waiting["asked_at"]).total_seconds() <= 12
        receiver.reply = lambda _: Reply()
        await site.in_state(delivery, "delivered")

    first, *_, last = receiver.calls
    assert first.headers["webhook-id"] == last.headers["webhook-id"]
    assert first.body == last.body
    assert len(receiver.events(KEYS.secret_of(webhook.id))) == 2  # each with a time and a signature of its own


async def test_a_receiver_that_asks_for_time_gets_it(site, receiver):
    receiver.reply = lambda _: Reply(503, headers=(("Retry-After", "600"),))
    webhook = await site.webhooks.add(site.institution, receiver.url)

    async with site.courier():
        waiting = await site.tried(await site.tell(webhook), "answered 503")

    assert 600 <= (waiting["try_at"] - waiting["asked_at"]).total_seconds() <= 620


async def test_a_receiver_that_is_not_there_or_silent_is_a_reason_without_its_address(site):
    with WebhookReceiver() as gone:
        nobody = gone.url
    with WebhookReceiver(lambda _: Reply(after_s=3)) as silent:
        webhooks = [await site.webhooks.add(site.institution, f"{url}?key=secret") for url in (nobody, silent.url)]
        async with site.courier(deadline_s=0.5):
            reasons = [
                (await site.tried(await site.tell(webhook), word))["reason"]
                for webhook, word in zip(webhooks, ("not reached", "no answer"), strict=True)
            ]

    assert reasons[1] == "no answer in 0.5 s"
    assert not any("127.0.0.1" in reason or "secret" in reason for reason in reasons)


async def test_after_its_time_an_event_is_given_up_and_an_operator_lets_it_be_tried_again(site, receiver):
    receiver.reply = lambda _: Reply(500)
    webhook = await site.webhooks.add(site.institution, receiver.url)

    async with site.courier():
        delivery = await site.tell(webhook, give_up_s=1)
        failed = await site.in_state(delivery, "failed")
        assert failed["reason"] == "answered 500"
        assert failed["ended_at"] is not None
        receiver.reply = lambda _: Reply()
        assert await site.deliveries.try_again({"webhook_id": webhook.id}, give_up_s=60) == 1
        again = await site.in_state(delivery, "delivered")

    assert again["tries_before"] == failed["attempts"]  # its pauses begin anew, too


async def test_what_waits_for_a_webhook_that_was_removed_is_told_to_nobody(site, receiver):
    webhook = await site.webhooks.add(site.institution, receiver.url)
    delivery = await site.tell(webhook)
    await site.webhooks.remove(webhook.id)

    async with site.courier():
        failed = await site.in_state(delivery, "failed")

    assert failed["reason"] == "the webhook was removed"
    assert not receiver.calls


async def test_without_the_key_nobody_is_called_and_nothing_is_lost(site, receiver):
    webhook = await site.webhooks.add(site.institution, receiver.url)
    delivery = await site.tell(webhook)

    async with site.courier(keys=None):
        await site.tried(delivery, "RADBUS_WEBHOOK_KEY")
    assert not receiver.calls
    await site.due_now(delivery)
    async with site.courier():
        await site.in_state(delivery, "delivered")


async def test_receivers_that_are_dead_or_hang_do_not_hold_up_another(site, receiver):
    with WebhookReceiver() as gone:
        dead = await site.webhooks.add(site.institution, gone.url)
    with WebhookReceiver(lambda _: Reply(after_s=60)) as hanging:
        slow = [await site.webhooks.add(f"{site.institution}-{n}", hanging.url) for n in range(6)]
        good = await site.webhooks.add(site.institution, receiver.url)
        for webhook in (*slow, dead):
            for _ in range(20):
                await site.tell(webhook)
        async with site.courier(deadline_s=2):
            # More of them hang than there are places: each has its first calls in vain, then they are left alone.
            for each in [await site.tell(good) for _ in range(20)]:
                await site.in_state(each, "delivered")

        assert len(hanging.calls) < 60


async def test_a_receiver_is_told_of_hundreds_as_fast_as_it_takes_them_over_connections_that_are_kept(site, receiver):
    webhook = await site.webhooks.add(site.institution, receiver.url)
    told = [await site.tell(webhook) for _ in range(300)]

    async with site.courier():
        for each in told:
            await site.in_state(each, "delivered")  # within 20 s: no call waits for the next look

    assert receiver.connections <= 8


async def test_no_cookie_of_one_answer_is_in_another_call(site, receiver):
    receiver.reply = lambda _: Reply(headers=(("Set-Cookie", "session=1; Path=/"),))
    webhook = await site.webhooks.add(site.institution, receiver.url)

    async with site.courier():
        for _ in range(3):
            await site.in_state(await site.tell(webhook), "delivered")

    assert not [call for call in receiver.calls if "cookie" in call.headers]


async def test_what_is_waited_for_is_found_by_an_index(site):
    webhook = await site.webhooks.add(site.institution, "https://ris.example/")
    for _ in range(20):
        await site.tell(webhook)
    database = site.documents._database
    await database.command({"profile": 2, "slowms": 0})
    try:
        await site.deliveries.claim(but=["another"])
        await site.deliveries.waiting()
        await site.deliveries.oldest_waiting_s()
    finally:
        await database.command({"profile": 0})

    profiled = await database["system.profile"].find({"ns": {"$regex": "deliveries$"}}).to_list(100)
    await database.drop_collection("system.profile")
    assert len(profiled) >= 3
    assert not [each for each in profiled if "COLLSCAN" in each.get("planSummary", "")]


async def test_two_couriers_share_the_work_and_each_event_is_told_once(site, receiver):
    webhook = await site.webhooks.add(site.institution, receiver.url)
    told = [await site.tell(webhook) for _ in range(60)]

    async with site.courier(), site.courier():
        for each in told:
            await site.in_state(each, "delivered")

    assert sorted(call.headers["webhook-id"] for call in receiver.calls) == sorted(each.split("/")[1] for each in told)


async def test_a_try_whose_courier_died_is_made_by_another_and_noted_once(site, receiver):
    webhook = await site.webhooks.add(site.institution, receiver.url)
    delivery = await site.tell(webhook)
    lost = await site.deliveries.claim()
    assert lost is not None
    assert await site.deliveries.claim() is None  # nobody else has it meanwhile
    await site.due_now(delivery)

    async with site.courier():
        done = await site.in_state(delivery, "delivered")
    assert done["attempts"] == 2
    # The dead one wakes up: what it has to say is of an attempt that is over.
    assert not await site.deliveries.not_delivered(lost, "answered 500", again_s=None)
    assert (await site.deliveries.get(delivery))["state"] == "delivered"


async def test_what_waits_is_measured(site):
    with WebhookReceiver() as gone:
        webhook = await site.webhooks.add(site.institution, gone.url)
    assert await site.deliveries.oldest_waiting_s() == 0
    await site.tell(webhook)
    await asyncio.sleep(0.2)

    assert await site.deliveries.waiting() == 1
    assert 0.1 < await site.deliveries.oldest_waiting_s() < 20


async def test_an_institution_has_a_bounded_number_of_webhooks(site):
    for _ in range(WEBHOOKS_LIMIT):
        await site.webhooks.add(site.institution, "https://ris.example/")

    with pytest.raises(WebhookError, match="remove one first"):
        await site.webhooks.add(site.institution, "https://ris.example/")
    with pytest.raises(WebhookError, match=r"expected events of radbus\.inference"):
        await site.webhooks.add("another", "https://ris.example/", types=("radbus.task.started.v1",))


async def test_the_service_tells_each_receiver_what_it_wants_and_other_institutions_nothing(world, results):
    webhooks = Webhooks(world.documents)
    with WebhookReceiver() as all_of_it, WebhookReceiver() as failures, WebhookReceiver() as others:
        whole = await webhooks.add(world.institution, all_of_it.url)
        await webhooks.add(world.institution, failures.url, types=("radbus.inference.failed.v1",), use_cases=("qct",))
        await webhooks.add(world.institution, failures.url, triage=TriageStatus.CRITICAL)
        await webhooks.add(f"{world.institution}-beside", others.url)
        failed, unrouted = world.failed(), world.unrouted("1.2.9")
        await world.publish(world.series_completed(), world.requested(), failed, failed, unrouted, unrouted)

        await until(_count(all_of_it, 2), timeout_s=WITHIN_S, what="two events")
        await until(_count(failures, 1), timeout_s=WITHIN_S, what="a failure")
        secret = WebhookKeys(b"radbus-local-development").secret_of(whole.id)
        events = all_of_it.events(secret)

    assert sorted(str(each["type"]) for each in events) == ["radbus.inference.failed.v1", "radbus.series.unrouted.v1"]
    (on_bus,) = [event for key, event in world.heard if key == "inference.failed.v1"]
    (failure,) = [each for each in events if each["type"] == "radbus.inference.failed.v1"]
    assert failure == on_bus
    assert len(failures.calls) == 1
    assert not others.calls


def _count(receiver: WebhookReceiver, count: int) -> Callable[[], Any]:
    async def look() -> list[Call] | None:
        return list(receiver.calls) if len(receiver.calls) >= count else None

    return look
