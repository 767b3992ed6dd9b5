"""Exchanges, queues and bindings, each spelled once, in the order in which a series meets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from radbus_contracts import facts, orders
from radbus_contracts.envelope import Payload

EVENTS: Final = "radbus.events"  # topic: facts
TASKS: Final = "radbus.tasks"  # direct: orders to worker pools
UNROUTED: Final = "radbus.unrouted"  # fanout: alternate of the orders' exchange
RETRY_STEPS_S: Final = (1, 5, 30, 300)
DELIVERY_LIMIT: Final = 10
QUEUE_LENGTH_LIMIT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Fact:
    """A kind of fact: its payload and the routing key it is published under.

    `goes_on`: more words follow in the key of each message, by which subscribers choose.
    """

    payload: type[Payload]
    routing_key: str
    goes_on: bool = False

    @property
    def type(self) -> str:
        """The CloudEvents type."""
        return f"radbus.{self.routing_key}"

    @property
    def binding(self) -> str:
        """What a queue for all of it is bound by."""
        return f"{self.routing_key}.#" if self.goes_on else self.routing_key


INSTANCE_STORED = Fact(facts.InstanceStoredV1, "instance.stored.v1")
SERIES_COMPLETED = Fact(facts.SeriesCompletedV1, "series.completed.v1")
STUDY_COMPLETED = Fact(facts.StudyCompletedV1, "study.completed.v1")
SERIES_UNROUTED = Fact(facts.SeriesUnroutedV1, "series.unrouted.v1")
JOB_REQUESTED = Fact(facts.JobRequestedV1, "job.requested.v1")
JOB_CANCEL_REQUESTED = Fact(facts.JobCancelRequestedV1, "job.cancel-requested.v1")
TASK_STARTED = Fact(facts.TaskStartedV1, "task.started.v1")
TASK_PROGRESSED = Fact(facts.TaskProgressedV1, "task.progressed.v1")
TASK_SUCCEEDED = Fact(facts.TaskSucceededV1, "task.succeeded.v1")
TASK_FAILED = Fact(facts.TaskFailedV1, "task.failed.v1")
WORKER_HEARTBEAT = Fact(facts.WorkerHeartbeatV1, "worker.heartbeat.v1")
JOB_COMPLETED = Fact(facts.JobCompletedV1, "job.completed.v1")
JOB_FAILED = Fact(facts.JobFailedV1, "job.failed.v1")
JOB_RETRIED = Fact(facts.JobRetriedV1, "job.retried.v1")
INFERENCE_COMPLETED = Fact(facts.InferenceCompletedV1, "inference.completed.v1", goes_on=True)  # .<use case>.<triage>
INFERENCE_FAILED = Fact(facts.InferenceFailedV1, "inference.failed.v1")
FEEDBACK_RECORDED = Fact(facts.FeedbackRecordedV1, "feedback.recorded.v1")
STUDY_PURGED = Fact(facts.StudyPurgedV1, "study.purged.v1")
INFERENCE_PURGED = Fact(facts.InferencePurgedV1, "inference.purged.v1")

FACTS: Final = (
    INSTANCE_STORED,
    SERIES_COMPLETED,
    STUDY_COMPLETED,
    SERIES_UNROUTED,
    JOB_REQUESTED,
    JOB_CANCEL_REQUESTED,
    TASK_STARTED,
    TASK_PROGRESSED,
    TASK_SUCCEEDED,
    TASK_FAILED,
    WORKER_HEARTBEAT,
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_RETRIED,
    INFERENCE_COMPLETED,
    INFERENCE_FAILED,
    FEEDBACK_RECORDED,
    STUDY_PURGED,
    INFERENCE_PURGED,
)
WEBHOOK_FACTS: Final = (INFERENCE_COMPLETED, INFERENCE_FAILED, SERIES_UNROUTED)
RUN_TASK: Final = Fact(orders.RunTaskV1, "task.run.v1")


def inference_completed_key(use_case: str, triage: facts.TriageStatus) -> str:
    """Spell the routing key of a finished inference; subscribers bind `inference.completed.v1.*.critical`."""
    return f"{INFERENCE_COMPLETED.routing_key}.{use_case}.{triage.value}"


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue of radbus's own and what flows into it."""

    name: str
    exchange: str
    routing_key: str
    expires_s: int | None = None

    @property
    def type(self) -> str:
        """The CloudEvents type of its messages."""
        return f"radbus.{self.routing_key.removesuffix('.#')}"

    @property
    def dead(self) -> str:
        """Where its messages go that cannot be settled."""
        return f"{self.name}.dead"


def fact_queue(service: str, fact: Fact, *, expires_s: int | None = None) -> Queue:
    """Name the queue by which a service hears a fact; a later version has one of its own beside it.

    Replicas of the release before go on reading the earlier one's, and cannot read the later.
    """
    noun, past, version = fact.routing_key.split(".")
    later = "" if version == "v1" else f"-{version}"
    return Queue(f"{service}.{noun}-{past}{later}", EVENTS, fact.binding, expires_s)


INGEST_JOB_COMPLETED = fact_queue("ingest", JOB_COMPLETED)
INGEST_JOB_FAILED = fact_queue("ingest", JOB_FAILED)
ROUTER_SERIES_COMPLETED = fact_queue("router", SERIES_COMPLETED)
ROUTER_STUDY_COMPLETED = fact_queue("router", STUDY_COMPLETED)
SCHEDULER_JOB_REQUESTED = fact_queue("scheduler", JOB_REQUESTED)
SCHEDULER_JOB_CANCEL_REQUESTED = fact_queue("scheduler", JOB_CANCEL_REQUESTED)
SCHEDULER_WORKER_HEARTBEAT = fact_queue("scheduler", WORKER_HEARTBEAT, expires_s=30)
SCHEDULER_TASK_STARTED = fact_queue("scheduler", TASK_STARTED)
SCHEDULER_TASK_PROGRESSED = fact_queue("scheduler", TASK_PROGRESSED, expires_s=60)
SCHEDULER_TASK_SUCCEEDED = fact_queue("scheduler", TASK_SUCCEEDED)
SCHEDULER_TASK_FAILED = fact_queue("scheduler", TASK_FAILED)
RESULTS_SERIES_COMPLETED = fact_queue("results", SERIES_COMPLETED)
RESULTS_SERIES_UNROUTED = fact_queue("results", SERIES_UNROUTED)
RESULTS_JOB_REQUESTED = fact_queue("results", JOB_REQUESTED)
RESULTS_JOB_COMPLETED = fact_queue("results", JOB_COMPLETED)
RESULTS_JOB_FAILED = fact_queue("results", JOB_FAILED)
RESULTS_JOB_RETRIED = fact_queue("results", JOB_RETRIED)
# What becomes of what was uploaded: the results service hears it, as any subscriber does, and calls the webhooks.
WEBHOOKS_INFERENCE_COMPLETED = fact_queue("webhooks", INFERENCE_COMPLETED)
WEBHOOKS_INFERENCE_FAILED = fact_queue("webhooks", INFERENCE_FAILED)
WEBHOOKS_SERIES_UNROUTED = fact_queue("webhooks", SERIES_UNROUTED)

QUEUES: Final = (
    INGEST_JOB_COMPLETED,
    INGEST_JOB_FAILED,
    ROUTER_SERIES_COMPLETED,
    ROUTER_STUDY_COMPLETED,
    SCHEDULER_JOB_REQUESTED,
    SCHEDULER_JOB_CANCEL_REQUESTED,
    SCHEDULER_WORKER_HEARTBEAT,
    SCHEDULER_TASK_STARTED,
    SCHEDULER_TASK_PROGRESSED,
    SCHEDULER_TASK_SUCCEEDED,
    SCHEDULER_TASK_FAILED,
    RESULTS_SERIES_COMPLETED,
    RESULTS_SERIES_UNROUTED,
    RESULTS_JOB_REQUESTED,
    RESULTS_JOB_COMPLETED,
    RESULTS_JOB_FAILED,
    RESULTS_JOB_RETRIED,
    WEBHOOKS_INFERENCE_COMPLETED,
    WEBHOOKS_INFERENCE_FAILED,
    WEBHOOKS_SERIES_UNROUTED,
)


def pool_queue(pool: str) -> Queue:
    """Name the queue of a worker pool; its publisher and its workers declare it."""
    return Queue(f"worker.{pool}", TASKS, pool)


def retry_exchange(step_s: int) -> str:
    """Name the fanout exchange, and the queue behind it, of one step of the retry ladder."""
    return f"radbus.retry.{step_s}s"
