"""A check that fails in a way of its own: it is a fault with a name, and whoever asks goes on."""

from __future__ import annotations

import asyncio

import pytest
from radbus_runtime.bus import Bus
from radbus_runtime.health import look


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ZeroDivisionError("Jane"), KeyError("Jane")])
async def test_whatever_a_check_raises_is_its_fault_by_its_name_and_the_others_are_asked(error):
    async def well() -> str | None:
        return None

    async def broken() -> str | None:
        raise error

    found = await look("test", {"well": well, "broken": broken})

    assert found == {"well": None, "broken": type(error).__name__}


async def test_a_look_that_somebody_cancels_is_cancelled():
    asked = asyncio.Event()

    async def slow() -> str | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    looking = asyncio.create_task(look("test", {"slow": slow}))
    await asked.wait()
    looking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await looking


async def test_a_connection_lost_while_the_bus_is_asked_is_a_fault_of_the_bus(make_settings, monkeypatch):
    bus = Bus(make_settings())

    async def lost() -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(bus._broker, "connect", lost)
    monkeypatch.setattr(bus, "_started", True)

    assert (await bus.check()).startswith("RabbitMQ does not answer")
