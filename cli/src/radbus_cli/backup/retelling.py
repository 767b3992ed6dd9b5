"""Telling again, after a restore, what was on its way through the broker when the backup was made.

A backup has no messages. A fact whose outbox entry the broker had already confirmed, and whose effect was not yet
written, is known by that gap; it goes back into the outbox of the record that it tells of. Who has heard it hears it
twice, which every handler expects.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from radbus_contracts.facts import (
    JobRequestedV1,
    SeriesCompletedV1,
    SeriesUnroutedV1,
    Source,
    StudyCompletedV1,
    TaskFailedV1,
    TaskSucceededV1,
)
from radbus_contracts.identity import event_id, inference_id, job_id, outcome_id
from radbus_contracts.topology import SERIES_COMPLETED, SERIES_UNROUTED, STUDY_COMPLETED, TASK_FAILED, TASK_SUCCEEDED
from radbus_runtime.events import Outgoing, Teller
from radbus_storage import records
from radbus_storage.documents import NOW, Document, Documents

_PAGE: Final = 200
_HEAD: Final = {"elements": 0, "all": 0}
# A message may have waited so long for a server that was away.
_WAITED: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Again:
    """What a record is to tell again."""

    record: str
    messages: Sequence[Outgoing]


async def tell_again(documents: Documents, *, since: datetime) -> int:
    """Put what is missing back into the outboxes; return how many messages. Done twice, it is done once."""
    # What was under way has as long as it had at first: its deadline may have passed since the backup.
    anew = {"$add": [NOW, {"$subtract": ["$finish_by", "$requested_at"]}]}
    await documents[records.JOBS].update_many(
        {"state": "active"}, [{"$set": {"finish_by": {"$max": ["$finish_by", anew]}}}]
    )
    told = 0
    for collection, find in (
        (records.SERIES, _series),
        (records.STUDIES, _studies),
        (records.ROUTINGS, _routings),
        (records.OUTCOMES, _outcomes),
        (records.JOBS, _jobs),
    ):
        async for again in find(documents, since - _WAITED):
            for message in again.messages:
                same = {"_id": again.record, "outbox.id": {"$ne": message.id}}
                told += await documents[collection].update(same, {"$push": {"outbox": message.document()}})
    return told


async def _series(documents: Documents, _: datetime) -> AsyncIterator[_Again]:
    async for record in _each(documents, records.SERIES, {"state": "complete", "revision": {"$gt": 0}}, only=_HEAD):
        routing = f"{record['_id']}/{record['revision']}"
        if await _has(documents, records.ROUTINGS, routing) and await _has(documents, records.CASES, record["_id"]):
            continue
        data = SeriesCompletedV1(
            study_instance_uid=record["study_instance_uid"],
            series_instance_uid=record["series_instance_uid"],
            revision=record["revision"],
            modality=record["modality"],
            instance_count=record["instance_count"],
            source=Source.model_validate(record["source"]),
        )
        told = event_id("series-completed", record["_id"], str(record["revision"]))
        message = Teller("ingest").tell(
            SERIES_COMPLETED,
            data,
            subject=record["series_instance_uid"],
            institution=record["institution"],
            event_id=told,
        )
        yield _Again(record["_id"], [message])


async def _studies(documents: Documents, _: datetime) -> AsyncIterator[_Again]:
    async for record in _each(documents, records.STUDIES, {"state": "complete", "revision": {"$gt": 0}}):
        if await _has(documents, records.ROUTINGS, f"{record['_id']}/{record['revision']}"):
            continue
        data = StudyCompletedV1(
            study_instance_uid=record["study_instance_uid"],
            series_instance_uids=tuple(record["series_instance_uids"]),
            revision=record["revision"],
            source=Source.model_validate(record["source"]),
        )
        told = event_id("study-completed", record["_id"], str(record["revision"]))
        message = Teller("ingest").tell(
            STUDY_COMPLETED,
            data,
            subject=record["study_instance_uid"],
            institution=record["institution"],
            event_id=told,
        )
        yield _Again(record["_id"], [message])


async def _routings(documents: Documents, since: datetime) -> AsyncIterator[_Again]:
    """Tell the jobs that are not made, or not ended; and of late that there is none."""
    from radbus_router.handlers.pushing import job_message

    teller = Teller("router")
    async for record in _each(documents, records.ROUTINGS, {"job_ids": {"$ne": []}}):
        ids = record["job_ids"]
        ended = {"_id": {"$in": ids}, "state": {"$ne": "active"}}
        done = {job["_id"] for job in await documents[records.JOBS].find(ended, limit=len(ids), only={"_id": 1})}
        wanted = [each for each in _requests(record) if each.job_id in ids and each.job_id not in done]
        if wanted:
            yield _Again(record["_id"], [job_message(teller, each, record["institution"]) for each in wanted])
    unrouted = {"scope": "series", "reason": {"$ne": None}, "decided_at": {"$gte": since}}
    async for record in _each(documents, records.ROUTINGS, unrouted):
        yield _Again(record["_id"], [_unrouted(teller, record)])


def _unrouted(teller: Teller, routing: Document) -> Outgoing:
    data = SeriesUnroutedV1(
        study_instance_uid=routing["study_instance_uid"],
        series_instance_uid=routing["subject_uid"],
        revision=routing["revision"],
        reason=routing["reason"],
    )
    told = (routing["institution"], routing["subject_uid"], str(routing["revision"]))
    return teller.tell(
        SERIES_UNROUTED,
        data,
        subject=routing["subject_uid"],
        institution=routing["institution"],
        event_id=event_id(SERIES_UNROUTED.routing_key, *told),
    )


def _requests(routing: Document) -> list[JobRequestedV1]:
    found = []
    for decision in routing["decisions"]:
        if not decision["matched"]:
            continue
        first = JobRequestedV1.model_validate(decision["job"])
        for run in range(1, decision.get("runs", 1) + 1):
            own = job_id(
                institution=routing["institution"],
                use_case=first.use_case,
                version=first.use_case_version,
                subject_uid=first.subject_uid,
                revision=first.revision,
                run=run,
            )
            found.append(first.model_copy(update={"job_id": own, "run": run}))
    return found


async def _outcomes(documents: Documents, _: datetime) -> AsyncIterator[_Again]:
    """Tell what the scheduler has not heard: an outcome of an attempt that its job has still in flight."""
    async for job in _each(documents, records.JOBS, {"state": "active"}):
        for task in job["tasks"]:
            if task["state"] not in {"dispatched", "running"}:
                continue
            own = outcome_id(job["_id"], task["id"], task["attempt"])
            outcome = await documents[records.OUTCOMES].find_one({"_id": own})
            if outcome is not None:
                yield _Again(own, [_ended(outcome)])


def _ended(outcome: Document) -> Outgoing:
    named = {name: outcome[name] for name in ("job_id", "task_id", "attempt", "worker")}
    succeeded = outcome["succeeded"]
    data = (
        TaskSucceededV1(**named, outcome_id=outcome["_id"])
        if succeeded
        else TaskFailedV1(**named, reason=outcome["reason"], again=True)
    )
    return Teller("worker").tell(
        TASK_SUCCEEDED if succeeded else TASK_FAILED,
        data,
        subject=outcome["job_id"],
        institution=outcome["institution"],
        event_id=event_id("task.succeeded" if succeeded else "task.failed", outcome["_id"]),
    )


async def _jobs(documents: Documents, since: datetime) -> AsyncIterator[_Again]:
    """Tell the orders of the tasks in flight, and the ends that have no inference or are not old."""
    from radbus_scheduler.adapters.job_documents import job_of
    from radbus_scheduler.handlers.telling import messages_of

    recent = {"$or": [{"state": {"$in": ["active", "completed"]}}, {"finished_at": {"$gte": since}}]}
    async for record in _each(documents, records.JOBS, recent):
        if record["state"] == "completed" and record["finished_at"] < since:
            is_run = not record["series_instance_uids"]
            if is_run or await _has(documents, records.INFERENCES, inference_id(record["_id"])):
                continue
        messages = messages_of(Teller("scheduler"), None, job_of(record))
        if messages:
            yield _Again(record["_id"], messages)


async def _has(documents: Documents, name: str, record: str) -> bool:
    return await documents[name].count({"_id": record}, limit=1) > 0


async def _each(
    documents: Documents, name: str, where: Mapping[str, Any], *, only: Mapping[str, int] | None = None
) -> AsyncIterator[Document]:
    beyond: dict[str, Any] = {}
    while True:
        found = await documents[name].find({"$and": [where, beyond]}, limit=_PAGE, sort=[("_id", 1)], only=only)
        for each in found:
            yield each
        if len(found) < _PAGE:
            return
        beyond = {"_id": {"$gt": found[-1]["_id"]}}
