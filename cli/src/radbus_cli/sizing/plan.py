"""How many of everything a load needs in its busiest hour: rate times cost, at a share of what each can do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from radbus_cli.sizing.costs import CostsError, StudyCosts
from radbus_cli.sizing.load import DAY_S, Load

SERVICES = ("front", "ingest", "router", "scheduler", "results")
ENGINES = ("mongo", "rabbitmq", "s3", "triton")
_OPERATIONS = ("insert", "query", "update", "delete", "getmore", "command")


@dataclass(frozen=True, slots=True)
class Limits:
    """How full anything may be, and how large one of it is made before there are two."""

    utilisation: float = 0.6
    mongo_cores: float = 16.0  # of a shard's primary
    rabbitmq_cores: float = 16.0  # of the busiest node of a cluster
    triton_cores: float = 16.0  # of a Triton, where it runs on processors


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load needs; rates are those of the busiest hour, a second."""

    load: Load
    cores: Mapping[str, float]  # of each program, used; reserve what `utilisation` leaves free on top
    replicas: Mapping[str, int]
    worker_slots: int
    mongo_shards: int
    rabbitmq_clusters: int
    tritons: int
    mongo_operations: float
    messages: float
    s3_puts: float
    s3_gets: float
    s3_bytes_in: float
    s3_bytes_out: float
    objects_bytes_a_day: float
    documents_bytes_a_day: float


def plan(load: Load, costs: Mapping[str, StudyCosts], limits: Limits | None = None) -> Plan:
    """Reckon what a load needs.

    Raises:
        CostsError: A kind of study of the load was never measured.
    """
    limits = limits or Limits()
    if missing := sorted({each.use_case for each in load.mix} - costs.keys()):
        raise CostsError(f"not measured: {', '.join(missing)}; expected one of {', '.join(sorted(costs))}")

    def a_study(name: str) -> float:
        return sum(each.share * costs[each.use_case].cost(name, each.instances) for each in load.mix)

    rate = load.peak_rate
    cores = {name: rate * a_study(f"cpu_s.{name}") for name in (*SERVICES, "worker", *ENGINES)}
    busy = sum(each.share * costs[each.use_case].worker_s.at(each.instances) for each in load.mix)

    def many(used: float, one: float = 1.0, least: int = 1) -> int:
        return max(least, math.ceil(used / (one * limits.utilisation)))

    return Plan(
        load=load,
        cores=cores,
        # One event loop is one core; two of each, so that one may die.
        replicas={name: many(cores[name], least=2) for name in SERVICES},
        worker_slots=many(rate * busy, least=2),
        mongo_shards=many(cores["mongo"], limits.mongo_cores),
        rabbitmq_clusters=many(cores["rabbitmq"], limits.rabbitmq_cores),
        tritons=many(cores["triton"], limits.triton_cores),
        mongo_operations=rate * sum(a_study(f"mongo.{name}") for name in _OPERATIONS),
        messages=rate * (a_study("bus.published") + a_study("bus.delivered")),
        s3_puts=rate * a_study("s3.PUT"),
        s3_gets=rate * a_study("s3.GET"),
        s3_bytes_in=rate * a_study("s3.bytes_in"),
        s3_bytes_out=rate * a_study("s3.bytes_out"),
        objects_bytes_a_day=load.mean_rate * DAY_S * a_study("s3.bytes_in"),
        documents_bytes_a_day=load.mean_rate * DAY_S * a_study("mongo.stored_bytes"),
    )
