"""What a soak does and what is done to it, all of it chosen by a seed: the same seed gives the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.chaos.moments import Server

HOSPITALS: Final = 3
SERVICES: Final = ("ingest", "router", "scheduler", "results", "worker-0", "worker-1")
SERVERS: Final = ("rabbitmq", "mongo", "s3", "triton")
_LOAD_EVERY_S: Final = 2.0
_GAP_S: Final = (1.0, 6.0)


class Kind(StrEnum):
    """What a client does."""

    COMPLETE = "uploads a series that it calls complete"
    QUIET = "uploads a series that must become quiet"
    STOW = "stores a series by STOW-RS"
    LATE = "uploads the last instance late"
    AGAIN = "uploads a series twice"
    BAD = "uploads bad instances beside good ones"
    UNROUTED = "uploads what no use case is for"
    FAILING = "uploads for a machine that fails"
    CANCELLED = "uploads a series and cancels its job"
    ASKED = "asks for a computation, and once more"
    RUN = "starts a run"
    BAD_RUN = "starts a run of what is no zip"


_WEIGHTS: Final = {Kind.COMPLETE: 5, Kind.QUIET: 3, Kind.STOW: 3, Kind.LATE: 3, Kind.AGAIN: 2}


class Hurt(StrEnum):
    """What is done to a service, a server or a line between two."""

    KILL = "kill"
    FREEZE = "freeze"
    STOP = "stop"
    CUT = "cut"
    RESET = "reset"
    PAUSE = "pause"
    DELAY = "delay"


_TO_SERVICES: Final = {Hurt.KILL: 4, Hurt.FREEZE: 2, Hurt.STOP: 1}
_TO_SERVERS: Final = {Hurt.KILL: 2, Hurt.FREEZE: 2}
_TO_LINES: Final = {Hurt.CUT: 2, Hurt.RESET: 2, Hurt.PAUSE: 2, Hurt.DELAY: 1}
# For how long; a freeze longer than heartbeats and time limits are is a lost connection, too.
_SECONDS: Final = {
    Hurt.KILL: (0.0, 4.0),
    Hurt.FREEZE: (1.0, 15.0),
    Hurt.STOP: (0.0, 2.0),
    Hurt.CUT: (0.5, 8.0),
    Hurt.RESET: (0.0, 0.0),
    Hurt.PAUSE: (1.0, 15.0),
    Hurt.DELAY: (2.0, 8.0),
}


@dataclass(frozen=True, slots=True)
class Load:
    """Something that a client of one of the hospitals begins at a time."""

    at_s: float
    kind: Kind
    hospital: int
    sleep_ms: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is done some time after the fault before it has ended, and ends by itself."""

    after_s: float
    hurt: Hurt
    target: str
    line: Server | None
    seconds: float

    def __str__(self) -> str:
        where = f"{self.target} to {self.line.name.lower()}" if self.line else self.target
        return f"{self.hurt} {where} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Plan:
    """A soak."""

    loads: tuple[Load, ...]
    faults: tuple[Fault, ...]


def plan(seed: int, minutes: float) -> Plan:
    """Choose load and faults for so many minutes."""
    seconds = minutes * 60
    loads = random.Random(f"{seed}/load")
    faults = random.Random(f"{seed}/faults")
    found: list[Fault] = []
    while sum(each.after_s + each.seconds for each in found) < seconds:
        found.append(_fault(faults))
    return Plan(tuple(_load(loads, seconds) for _ in range(int(seconds / _LOAD_EVERY_S))), tuple(found))


def _load(chance: random.Random, seconds: float) -> Load:
    kinds = list(Kind)
    [kind] = chance.choices(kinds, [_WEIGHTS.get(each, 1) for each in kinds])
    sleep_ms = 20_000 if kind is Kind.CANCELLED else round(10 * 2 ** chance.uniform(0, 8))
    return Load(chance.uniform(0, seconds), kind, chance.randrange(HOSPITALS), sleep_ms)


def _fault(chance: random.Random) -> Fault:
    after_s = chance.uniform(*_GAP_S)
    [where] = chance.choices(["service", "server", "line"], [5, 2, 4])
    line: Server | None = None
    if where == "server":
        target, hurts = chance.choice(SERVERS), _TO_SERVERS
    elif where == "service":
        target, hurts = chance.choice(SERVICES), _TO_SERVICES
    else:
        target, hurts, line = chance.choice(SERVICES), _TO_LINES, chance.choice(list(Server))
    [hurt] = chance.choices(list(hurts), list(hurts.values()))
    return Fault(after_s, hurt, target, line, chance.uniform(*_SECONDS[hurt]))
