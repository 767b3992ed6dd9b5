"""The busiest hour of a plan, study by study, on so many of everything: what waits, how long, and how full each gets.

A discrete-event simulation (simpy). Studies come at random (Poisson); each takes its measured time at each station, of
which there are as many as the plan says; a worker's time varies as it was measured to. It tries the plan's one
assumption, that a share of `utilisation` leaves waits short, also for kinds that are rare and long.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import simpy

from radbus_cli.sizing.costs import StudyCosts
from radbus_cli.sizing.load import Share
from radbus_cli.sizing.plan import Limits, Plan

Steps = Generator[simpy.Event, Any, None]

WORKERS = "worker"
# The order in which a study meets them; MongoDB and RabbitMQ are met all along, and counted once.
_BEFORE = ("front", "ingest", "s3", "mongo", "rabbitmq", "router", "scheduler")
_AFTER = ("results",)
_URGENT = frozenset({"qer"})
_WARM_UP = 0.25


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it: seconds from the last byte sent to the result, by use case, and how full each station was."""

    studies: int
    seconds: Mapping[str, Mapping[str, float]]  # use case: p50, p95, p99
    utilisation: Mapping[str, float]


@dataclass(slots=True)
class _Stations:
    resources: dict[str, simpy.PriorityResource]
    busy_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def stations(plan: Plan, limits: Limits) -> dict[str, int]:
    """Say how many studies each station can work at, at a time."""
    return {
        **plan.replicas,
        WORKERS: plan.worker_slots,
        "mongo": round(plan.mongo_shards * limits.mongo_cores),
        "rabbitmq": round(plan.rabbitmq_clusters * limits.rabbitmq_cores),
        "s3": max(2, math.ceil(plan.cores["s3"] / limits.utilisation)),
    }


def simulate(
    plan: Plan, costs: Mapping[str, StudyCosts], *, limits: Limits | None = None, seconds: float = 1800.0, seed: int = 1
) -> Simulated:
    """Let studies come for some seconds at the rate of the busiest hour; the first quarter of them is not counted."""
    chance = random.Random(seed)  # noqa: S311 - a simulation that can be repeated
    world = simpy.Environment()
    capacity = stations(plan, limits or Limits())
    places = _Stations({name: simpy.PriorityResource(world, count) for name, count in capacity.items()})
    told: dict[str, list[float]] = defaultdict(list)
    warm_s = _WARM_UP * seconds

    def arrivals() -> Steps:
        weights = [share.share for share in plan.load.mix]
        while True:
            yield world.timeout(chance.expovariate(plan.load.peak_rate))
            (share,) = chance.choices(plan.load.mix, weights)
            world.process(study(share))

    def study(share: Share) -> Steps:
        came, cost = world.now, costs[share.use_case]
        urgency = 0 if share.use_case in _URGENT else 1
        for name in _BEFORE:
            yield from at(name, cost.cost(f"cpu_s.{name}", share.instances), urgency)
        yield from at(WORKERS, _varied(cost.worker_s.at(share.instances), cost.spread, chance), urgency)
        for name in _AFTER:
            yield from at(name, cost.cost(f"cpu_s.{name}", share.instances), urgency)
        if came > warm_s:
            told[share.use_case].append(world.now - came)

    def at(name: str, takes_s: float, urgency: int) -> Steps:
        if takes_s <= 0:
            return
        with places.resources[name].request(priority=urgency) as place:
            yield place
            begun = world.now
            yield world.timeout(takes_s)
        if begun > warm_s:
            places.busy_s[name] += takes_s

    world.process(arrivals())
    world.run(until=seconds)
    counted_s = seconds - warm_s
    return Simulated(
        studies=sum(len(each) for each in told.values()),
        seconds={use_case: _percentiles(each) for use_case, each in sorted(told.items())},
        utilisation={name: places.busy_s[name] / (counted_s * count) for name, count in capacity.items()},
    )


def _varied(mean: float, spread: float, chance: random.Random) -> float:
    """Draw from a log-normal distribution of this mean and relative standard deviation."""
    if mean <= 0 or spread <= 0:
        return mean
    sigma = math.sqrt(math.log1p(spread**2))
    return chance.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)


def _percentiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cut = statistics.quantiles(values, n=100)
    return {"p50": cut[49], "p95": cut[94], "p99": cut[98]}
