"""The steps of each service, and the moments of each step at which it is killed, in the order of its work: one table.

A moment is a place in the bytes between a service and one server. There the line freezes: before a step, its request
never reaches the server; after it, the server has done it and its answer never comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from radbus_contracts import topology
from radbus_storage import records
from radbus_testing.tripwire import (
    AMQP_ACK,
    AMQP_CONFIRM,
    Passing,
    Way,
    amqp_delivery,
    amqp_publish,
    bson_text,
    mongo_command,
)


class Server(StrEnum):
    """A server, by the setting that says where it is."""

    BROKER = "RADBUS_AMQP_URL"
    DATABASE = "RADBUS_MONGO_URL"
    OBJECTS = "RADBUS_S3_URL"
    TRITON = "RADBUS_TRITON_URL"


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a service is killed."""

    name: str
    server: Server
    passings: tuple[Passing, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a service asks of a server: what its request holds, piece after piece, and its answer."""

    name: str
    server: Server
    request: tuple[bytes, ...]
    answer: bytes = b""

    @property
    def before(self) -> Moment:
        """The request is on its way and never arrives."""
        return Moment(f"before {self.name}", self.server, self._sent)

    @property
    def after(self) -> Moment:
        """It is done, and nobody says so."""
        return Moment(f"after {self.name}", self.server, (*self._sent, Passing(Way.TO_CLIENT, self.answer)))

    @property
    def both(self) -> tuple[Moment, Moment]:
        """First the one, then the other."""
        return self.before, self.after

    @property
    def _sent(self) -> tuple[Passing, ...]:
        return tuple(Passing(Way.TO_SERVER, piece) for piece in self.request)


def _insert(collection: str) -> Step:
    return Step(f"insert of {collection}", Server.DATABASE, (mongo_command("insert", collection),))


def _update(name: str, collection: str, *pieces: bytes) -> Step:
    return Step(name, Server.DATABASE, (mongo_command("update", collection), *pieces))


def _pull(collection: str) -> Step:
    return _update(f"$pull from the outbox of {collection}", collection, b"\x03$pull\x00")


def _publish(fact: topology.Fact, *, exchange: str = topology.EVENTS, routing_key: str | None = None) -> Step:
    request = (amqp_publish(exchange, routing_key or fact.routing_key),)
    return Step(f"publish of {fact.routing_key}", Server.BROKER, request, AMQP_CONFIRM)


def _object(method: str) -> Step:
    return Step(f"{method} of an object", Server.OBJECTS, (f"{method} /radbus/".encode(),))


def _ack(queue: topology.Queue) -> Moment:
    delivered = Passing(Way.TO_CLIENT, amqp_delivery(queue.exchange, queue.routing_key))
    return Moment(f"before the ack of {queue.name}", Server.BROKER, (delivered, Passing(Way.TO_SERVER, AMQP_ACK)))


def _in_turn(*moments: Moment | Iterable[Moment]) -> tuple[Moment, ...]:
    return tuple(one for each in moments for one in ((each,) if isinstance(each, Moment) else each))


_COMPLETE: Final = bson_text("state", "complete")
_ERASED: Final = bson_text("ended_at", "$$NOW")
_ONE_RETRY: Final = b"retries\x00" + (1).to_bytes(4, "little")
_MIDDLE_OF_AN_OBJECT: Final = Moment(
    "in the middle of an object",
    Server.OBJECTS,
    (Passing(Way.TO_SERVER, b"PUT /radbus/"), Passing(Way.TO_SERVER, b"\r\n\r\n", after_bytes=1000)),
)

INGEST_TAKES: Final = _in_turn(
    _MIDDLE_OF_AN_OBJECT,
    _object("PUT").both,
    _insert(records.INSTANCES).both,
    _update("touch of the study", records.STUDIES).both,
    _update("touch of the series", records.SERIES).both,
)
INGEST_COMPLETES_A_SERIES: Final = _in_turn(
    _update("completion of the series", records.SERIES, _COMPLETE).both,
    _publish(topology.SERIES_COMPLETED).both,
    _pull(records.SERIES).both,
)
INGEST_COMPLETES_A_STUDY: Final = _in_turn(
    _update("completion of the study", records.STUDIES, _COMPLETE).both,
    _publish(topology.STUDY_COMPLETED).both,
    _pull(records.STUDIES).before,
)
INGEST_STARTS_A_RUN: Final = _in_turn(
    _update("announcement of the run", records.RUNS).both,
    _object("PUT").both,
    _update("beginning of the run", records.RUNS, b"$concatArrays").both,
    _publish(topology.JOB_REQUESTED).both,
    _pull(records.RUNS).before,
)
INGEST_ERASES_A_RUN: Final = _in_turn(
    _object("DELETE").both,
    _update("end of the run", records.RUNS, _ERASED).both,
    _ack(topology.INGEST_JOB_COMPLETED),
)
ROUTER_ROUTES: Final = _in_turn(
    _insert(records.ROUTINGS).both,
    _publish(topology.JOB_REQUESTED).both,
    _pull(records.ROUTINGS).both,
)
ROUTER_ACKNOWLEDGES: Final = _in_turn(_ack(topology.ROUTER_SERIES_COMPLETED))
ROUTER_FINDS_NONE: Final = _in_turn(_publish(topology.SERIES_UNROUTED).both, _pull(records.ROUTINGS).before)
ROUTER_ROUTES_A_STUDY: Final = _in_turn(
    Step(
        "insert of a study's routing",
        Server.DATABASE,
        (mongo_command("insert", records.ROUTINGS), bson_text("scope", topology.facts.Scope.STUDY)),
    ).both,
    _publish(topology.JOB_REQUESTED).both,
    _pull(records.ROUTINGS).before,
)
ROUTER_IS_ASKED: Final = _in_turn(
    _update("record of the wish", records.WISHES).both,
    _update("push of the job", records.ROUTINGS, b"\x03$push\x00").both,
    _publish(topology.JOB_REQUESTED).both,
    _pull(records.ROUTINGS).before,
)
SCHEDULER_BEGINS: Final = _in_turn(
    _insert(records.JOBS).both,
    _update("dispatch", records.JOBS, bson_text("state", "dispatched")).both,
    _publish(topology.RUN_TASK, exchange=topology.TASKS, routing_key="default").both,
    _pull(records.JOBS).before,
)
SCHEDULER_ENDS: Final = _in_turn(
    _update("end of the job", records.JOBS, bson_text("state", "completed")).both,
    _publish(topology.JOB_COMPLETED).both,
    _pull(records.JOBS).both,
)
SCHEDULER_CANCELS: Final = _in_turn(
    _update("cancellation", records.JOBS, bson_text("state", "cancelled")).both,
    _publish(topology.JOB_FAILED).both,
    _pull(records.JOBS).before,
)
SCHEDULER_RETRIES: Final = _in_turn(
    _update("retry", records.JOBS, b"\x10" + _ONE_RETRY).both,
    _publish(topology.JOB_RETRIED).both,
    _pull(records.JOBS).before,
)
_CLAIM: Final = Step("claim of the lease", Server.DATABASE, (mongo_command("findAndModify", records.LEASES),))
# A model's answer and the question for it name its outputs; the smallest inference that asks how it is names none.
_INFER: Final = Step("inference", Server.TRITON, (b"LABELS",), b"LABELS")
# A task has three attempts: at most two of them are lost in a row.
WORKER_CLAIMS: Final = _in_turn(_CLAIM.both, _ack(topology.pool_queue("default")))
WORKER_INFERS: Final = _in_turn(_object("GET").before, _INFER.before)
WORKER_STORES: Final = _in_turn(_INFER.after, _object("PUT").before)
WORKER_RECORDS: Final = _in_turn(_object("PUT").after, _insert(records.OUTCOMES).before)
WORKER_TELLS: Final = _in_turn(
    _insert(records.OUTCOMES).after, _publish(topology.TASK_SUCCEEDED).both, _pull(records.OUTCOMES).both
)
WORKER_FAILS: Final = _in_turn(
    _insert(records.OUTCOMES).both, _publish(topology.TASK_FAILED).both, _pull(records.OUTCOMES).both
)
RESULTS_RECORD: Final = _in_turn(
    _update("first word of the case", records.CASES).both,
    _insert(records.INFERENCES).both,
    _update("result in the case", records.CASES, b"inference_id").both,
    _update("look at older inferences", records.INFERENCES, b"superseded_by").both,
)
RESULTS_TELL: Final = _in_turn(
    _publish(
        topology.INFERENCE_COMPLETED,
        routing_key=topology.inference_completed_key("sleepy", topology.facts.TriageStatus.ROUTINE),
    ).both,
    _pull(records.INFERENCES).both,
)
RESULTS_ACKNOWLEDGE: Final = _in_turn(_ack(topology.RESULTS_JOB_COMPLETED))
_CLAIM_A_DELIVERY: Final = Step(
    "claim of a delivery", Server.DATABASE, (mongo_command("findAndModify", records.DELIVERIES),), b"webhook_id"
)
RESULTS_CALL: Final = _in_turn(
    _update("opening of a delivery", records.DELIVERIES).both,
    _CLAIM_A_DELIVERY.after,
    _update("end of a delivery", records.DELIVERIES, bson_text("state", "delivered")).both,
)
RESULTS_FAIL: Final = _in_turn(
    _update("failure in the case", records.CASES, b"\x03$push\x00").both,
    _publish(topology.INFERENCE_FAILED).both,
    _pull(records.CASES).before,
)
RESULTS_RECORD_NONE: Final = _in_turn(
    _update("reason in the case", records.CASES, b"unrouted.1\x00").both, _ack(topology.RESULTS_SERIES_UNROUTED)
)
RESULTS_NOTE_A_RETRY: Final = _in_turn(
    _update("retry in the case", records.CASES, b"." + _ONE_RETRY).both, _ack(topology.RESULTS_JOB_RETRIED)
)
