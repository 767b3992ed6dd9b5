"""Room for the tasks' private folders: while their disk is almost full, the worker wants no tasks and is not ready."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from radbus_runtime.progress import beat

from radbus_worker.domain.slots import Slots

log = structlog.get_logger(__name__)

_EVERY_S: Final = 1.0  # sooner than a task's next attempt
_LEAST_SHARE: Final = 0.1
_HOLD_S: Final = 15.0


class ScratchRoom:
    """Closes the slots while there is no room."""

    def __init__(
        self, scratch_dir: Path, slots: Slots, *, low_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """No more than `low_bytes` free is no room; of a small disk, no more than a tenth of it."""
        self._scratch_dir = scratch_dir
        self._slots = slots
        self._low_bytes = low_bytes
        self._clock = clock
        self._no_room_until = clock()

    def hold(self) -> None:
        """Have no room for a while: a task found none where looking shows some, as it needed more, or by a quota.

        Else the worker, free again at once, would use up the attempts of all that waits.
        """
        self._no_room_until = self._clock() + _HOLD_S
        self._slots.close()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            beat("scratch")
            fault = await self.check()
            if fault is None:
                self._slots.open()
            elif not self._slots.closed:
                log.warning("scratch.filled", fault=fault)
                self._slots.close()
            await asyncio.sleep(_EVERY_S)

    async def check(self) -> str | None:
        """Return what is wrong with the disk, or None."""
        try:
            disk = await asyncio.to_thread(shutil.disk_usage, self._scratch_dir)
        except OSError as error:
            return f"the folder of tasks' folders cannot be looked at ({type(error).__name__})"
        low_bytes = min(self._low_bytes, round(disk.total * _LEAST_SHARE))
        if disk.free > low_bytes:
            held = self._clock() < self._no_room_until
            return f"within the last {_HOLD_S:g} s a task found no room on the disk of tasks' folders" if held else None
        return f"expected more than {low_bytes} bytes free for tasks' folders; there are {disk.free}"
