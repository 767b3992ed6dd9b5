"""A few small series on their way while a server is away, sent as a patient client does, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

_SEND_S = 120.0
_AGAIN_S = 0.5
_AGAIN = (502, 503, 504)


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent to one source."""

    series_instance_uid: str
    instances: list[bytes]
    source: str | None = None


async def send(hospital, series: Sequence[Load]) -> list[int]:
    """Send series, two at a time, each until it is accepted; return the refusals that were met on the way."""
    slots, refusals = asyncio.Semaphore(2), []

    async def send_one(each: Load) -> None:
        async with slots, asyncio.timeout(_SEND_S):
            while (status := await asyncio.to_thread(_sent, hospital, each)) != 200:
                assert status in _AGAIN, status
                refusals.append(status)
                await asyncio.sleep(_AGAIN_S)

    await asyncio.gather(*(send_one(each) for each in series))
    return refusals


def _sent(hospital, each: Load) -> int:
    try:
        return hospital.post_upload(each.instances, source=each.source).status_code
    except httpx2.TransportError:  # cut off: it may be accepted, and is sent again
        return 503
