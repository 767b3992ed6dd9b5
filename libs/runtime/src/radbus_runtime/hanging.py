"""A process that hangs ends itself: whoever watches it starts it again, which beats hanging for ever."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

_BEAT_S = 1.0
CLOSE_S = 10.0
END_S = 3.0


async def watched(work: Coroutine[Any, Any, None], *, hang_s: float, close_s: float = CLOSE_S) -> None:
    """Do the work; when the event loop stands still for `hang_s`, say where, and end the process at once.

    The standard library's watchdog prints the stacks without values, and needs neither the loop nor the interpreter.
    After the work the process has `close_s` for its own end: the runner waits without limit for the loop's threads.
    """
    beating = asyncio.create_task(_beat(hang_s))
    try:
        await work
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        faulthandler.cancel_dump_traceback_later()
        end_within(close_s, code=1)


def end_within(seconds: float, *, code: int) -> None:
    """End the process then, also when a thread that hangs would keep it from its end."""
    ending = threading.Timer(seconds, os._exit, args=(code,))
    ending.daemon = True
    ending.start()


async def _beat(hang_s: float) -> None:
    while True:
        faulthandler.dump_traceback_later(hang_s, exit=True, file=sys.stderr)
        await asyncio.sleep(_BEAT_S)
