"""Publishing when the library hangs, or cancels what it was asked for: the caller hears one kind of error in time."""

from __future__ import annotations

import asyncio

import pytest
from radbus_runtime import bus as module
from radbus_runtime.bus import Bus, BusUnavailableError
from radbus_runtime.events import Outgoing

MESSAGE = Outgoing(id="1", exchange="radbus.events", routing_key="k", type="t", body="{}", traceparent=None)


async def test_a_connection_lost_while_a_message_is_published_is_an_error_that_may_pass(make_settings, monkeypatch):
    bus = Bus(make_settings())

    async def lost(*_: object, **__: object) -> None:
        raise asyncio.CancelledError  # as aio-pika does, though nobody has cancelled anything

    monkeypatch.setattr(bus._broker, "publish", lost)

    with pytest.raises(BusUnavailableError, match="was lost"):
        await bus.publish(MESSAGE)


async def test_a_publish_that_somebody_cancels_is_cancelled(make_settings, monkeypatch):
    bus, begun = Bus(make_settings()), asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(bus._broker, "publish", hang)
    publishing = asyncio.create_task(bus.publish(MESSAGE))
    await begun.wait()
    publishing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await publishing


async def test_a_publish_that_is_not_confirmed_is_given_up_although_the_library_would_wait(make_settings, monkeypatch):
    bus = Bus(make_settings())

    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(bus._broker, "publish", hang)
    monkeypatch.setattr(module, "PUBLISH_TIMEOUT_S", 0.01)

    with pytest.raises(BusUnavailableError, match="TimeoutError"):
        await bus.publish(MESSAGE)
