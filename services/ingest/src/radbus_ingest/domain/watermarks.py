"""When requests are refused because too much waits, when they are taken again, and when clients are to come back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

_MOST_WAIT_S: Final = 120


class Concern(StrEnum):
    """What there can be too much of, or too little room for."""

    REQUESTS = "requests"  # being taken in
    BYTES = "bytes"  # taken in and not yet stored
    DISK = "disk"  # under the folder of temporary files
    MEMORY = "memory"  # of this process
    STORE = "store"  # the object store says that it is full
    OUTBOX = "outbox"  # records with events that the broker has not confirmed
    TASKS = "tasks"  # ready, and waiting for a worker


SAID: Final = {
    Concern.REQUESTS: "too many requests are being taken in",
    Concern.BYTES: "too much is waiting to be stored",
    Concern.DISK: "the disk for what arrives is almost full",
    Concern.MEMORY: "the memory for what arrives is almost full",
    Concern.STORE: "the object store is full",
    Concern.OUTBOX: "too many events are waiting for the bus",
    Concern.TASKS: "too many tasks are waiting for a worker",
}


@dataclass(frozen=True, slots=True)
class Level:
    """How near to its limit something is: at a load of 1 it is over, and stays so until `take_again_load`."""

    take_again_load: float
    load: float = 0.0
    is_over: bool = False

    def at(self, load: float) -> Level:
        """Return the level at a new load."""
        return replace(self, load=load, is_over=load >= 1 or (self.is_over and load > self.take_again_load))


def over_their_share(waiting: Mapping[str, int], places: float) -> dict[str, float]:
    """Return the load of each institution that has its equal share of the places, or more.

    To be asked when all waiting tasks together are too many: then whoever has only a few is still let in, and one
    institution's flood closes no other's door. Nobody can have more than their share, so all that waits is less
    than twice the places.
    """
    share = places / len(waiting) if waiting else places
    return {institution: count / share for institution, count in waiting.items() if count >= share}


def retry_after_s(load: float, *, least_s: int, chance: float) -> int:
    """Say after how long to come again: longer the more there waits, and not for all who were refused at once.

    `chance` is a random number from 0 to 1.
    """
    wait_s = least_s * max(1.0, load)
    return math.ceil(min(_MOST_WAIT_S, wait_s * (1 + chance / 2)))
