"""Waiting on a condition with a deadline, instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T | None], *, timeout_s: float, what: str, every_s: float = 0.1) -> T:
    """Return what `condition` gives once it is true.

    Raises:
        TimeoutError: It was not in `timeout_s`; the text says what was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        if given := condition():
            return given
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} in {timeout_s:.0f} s")
        time.sleep(every_s)


async def until(ask: Callable[[], Awaitable[T | None]], *, timeout_s: float, what: str, every_s: float = 0.05) -> T:
    """Return what `ask` gives once it is something.

    Raises:
        TimeoutError: It was nothing for `timeout_s`; the text says what was waited for.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while (given := await ask()) is None:  # noqa: ASYNC110 - what is asked has no event to wait for
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise TimeoutError(f"no {what} in {timeout_s:.0f} s") from None
    return given
