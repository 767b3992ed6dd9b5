"""A worker whose tasks find their disk full takes no orders for a while, also where looking shows room."""

from __future__ import annotations

from radbus_worker.domain.slots import Slots
from radbus_worker.handlers.scratch_room import ScratchRoom


async def test_a_task_that_found_no_room_closes_the_slots_for_a_while_though_looking_shows_some(tmp_path):
    now_s, slots = [100.0], Slots(1)
    room = ScratchRoom(tmp_path, slots, low_bytes=1, clock=lambda: now_s[0])
    before = await room.check()

    room.hold()

    closed, fault = slots.closed, await room.check()
    now_s[0] += 14.9
    still = await room.check()
    now_s[0] += 0.2
    assert (before, closed, await room.check()) == (None, True, None)
    assert "found no room" in str(fault)
    assert still == fault
