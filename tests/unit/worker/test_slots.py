"""Slots: never more than there are, and every change is told."""

from __future__ import annotations

import asyncio

from radbus_worker.domain.slots import Slots


async def test_no_more_slots_are_taken_than_there_are():
    slots = Slots(2)
    await slots.take()
    await slots.take()

    third = asyncio.create_task(slots.take())
    await asyncio.sleep(0)

    assert slots.full
    assert not third.done()
    slots.give_back()
    await third
    assert slots.busy == 2


async def test_whoever_watches_is_told_when_a_slot_is_taken_and_given_back():
    slots, seen = Slots(3), []
    slots.watch(lambda: seen.append(slots.busy))

    await slots.take()
    await slots.take()
    slots.give_back()

    assert seen == [1, 2, 1]


async def test_slots_that_are_closed_are_told_once_and_are_no_less_free():
    slots, seen = Slots(3), []
    slots.watch(lambda: seen.append(slots.closed))

    slots.close()
    slots.close()
    slots.open()
    slots.open()

    assert seen == [True, False]
    assert not slots.full
