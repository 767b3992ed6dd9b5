"""The end of a service: whatever fails on the way, everything is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from radbus_runtime.http import create_api
from radbus_runtime.service import Service


class Server:
    """A bus, or a store, that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @property
    def audit(self) -> Server:
        return self

    async def check(self) -> None: ...

    async def ping(self) -> None: ...

    async def stop_consuming(self) -> None:
        self.told.append("stop consuming")

    async def stop(self) -> None:
        self.told.append("stop")

    async def insert_many(self, documents: list[Any]) -> None:
        self.told.append("recorded")

    def close(self) -> None:
        self.told.append("close")


async def test_a_drain_that_fails_is_told_after_the_others_are_drained_and_everything_is_closed(make_settings):
    bus, documents, objects, drained = Server(), Server(), Server(), []

    async def fail() -> None:
        raise ZeroDivisionError

    async def drain() -> None:
        drained.append("drained")

    service = Service("test", make_settings(), create_api("test", description=""), bus, documents, objects)
    service.drain = [fail, drain]
    work = asyncio.create_task(asyncio.Event().wait())
    with pytest.raises(ExceptionGroup) as raised:
        await service.end(work)

    assert [type(error) for error in raised.value.exceptions] == [ZeroDivisionError]
    assert drained == ["drained"]
    assert work.cancelled()
    assert bus.told == ["stop consuming", "stop"]
    assert documents.told == ["recorded", "close"]
    assert objects.told == ["close"]
