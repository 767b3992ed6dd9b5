"""`routings`: what was decided, what was asked for, and what is to be told of it, in one document a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from radbus_contracts.facts import JobRequestedV1
from radbus_contracts.identity import record_id
from radbus_runtime.events import Outgoing
from radbus_runtime.outbox import OUTBOX_INDEX, OutboxRelay
from radbus_storage.documents import Collection, Document, Index
from radbus_storage.errors import AlreadyThereError

from radbus_router.domain.decision import UseCaseDecision
from radbus_router.domain.requesting import Decided, Match
from radbus_router.domain.routing import RoutedSubject, Routing

ROUTING_INDEXES = (
    Index((("institution", 1), ("subject_uid", 1), ("revision", -1))),
    Index((("institution", 1), ("study_instance_uid", 1))),
    OUTBOX_INDEX,
)
_DECIDED = {
    "institution": 1,
    "subject_uid": 1,
    "revision": 1,
    "reason": 1,
    "decisions.matched": 1,
    "decisions.runs": 1,
    "decisions.on_request": 1,
    "decisions.job": 1,
}


class Routings:
    """The decisions, each written once with all that it tells; later only its jobs are asked for (again)."""

    def __init__(self, collection: Collection, relay: OutboxRelay) -> None:
        self._collection = collection
        self._relay = relay

    async def record(self, routing: Routing, messages: Sequence[Outgoing]) -> bool:
        """Write a decision with its messages and send them soon; say whether it was new.

        A subject's revision that was decided before keeps its decision, and only what has not been sent is sent.
        """
        document = _document(routing, messages)
        try:
            await self._collection.insert(document)
        except AlreadyThereError:
            found = await self._collection.find_one({"_id": document["_id"]}, only={"outbox": 1})
            left = [Outgoing.of(entry) for entry in found["outbox"]] if found else []
            self._relay.send_soon(self._collection, document["_id"], left)
            return False
        self._relay.send_soon(self._collection, document["_id"], messages)
        return True

    async def newest(self, institution: str, subject_uids: Sequence[str]) -> dict[str, Decided]:
        """Read the newest decision about each of these subjects that has one."""
        pipeline = (
            {"$match": {"institution": institution, "subject_uid": {"$in": list(subject_uids)}}},
            {"$project": _DECIDED},
            {"$sort": {"subject_uid": 1, "revision": -1}},
            {"$group": {"_id": "$subject_uid", "newest": {"$first": "$$ROOT"}}},
        )
        found = await self._collection.aggregate(pipeline, limit=max(1, len(subject_uids)))
        return {each["_id"]: _decided(each["newest"]) for each in found}

    async def read(self, institution: str, routing_id: str) -> Decided | None:
        """Read one decision."""
        found = await self._collection.find_one({"_id": routing_id, "institution": institution}, only=_DECIDED)
        return None if found is None else _decided(found)

    async def was_asked_before(self, subject: RoutedSubject) -> bool:
        """Say whether a job that waits for somebody to ask was asked for with an earlier revision."""
        asked = {"$elemMatch": {"on_request": True, "runs": {"$gt": 0}}}
        where = {
            "institution": subject.institution,
            "subject_uid": subject.uid,
            "revision": {"$lt": subject.revision},
            "decisions": asked,
        }
        return subject.revision > 1 and await self._collection.find_one(where, only={"_id": 1}) is not None

    async def settle(self, subject: RoutedSubject) -> None:
        """Note that wishes were looked for: from now on, what waits to be asked for does wait."""
        where = {"_id": routing_id(subject), "institution": subject.institution}
        await self._collection.update(where, {"$set": {"wishes_seen": True}})

    async def push(self, decided: Decided, asked: Mapping[int, JobRequestedV1], messages: Sequence[Outgoing]) -> bool:
        """Count the next run of these decisions (by place), with its jobs and messages, in one update.

        False when one of them was pushed by somebody else since it was read.
        """
        runs = {f"decisions.{place}.runs": job.run for place, job in asked.items()}
        change = {
            "$set": runs,
            "$push": {
                "job_ids": {"$each": [job.job_id for job in asked.values()]},
                "outbox": {"$each": [message.document() for message in messages]},
            },
        }
        unchanged = [_pushed_until(place, job.run - 1) for place, job in asked.items()]
        same = {"_id": decided.id, "institution": decided.institution}
        pushed = await self._collection.update({**same, "$and": unchanged} if unchanged else same, change)
        if pushed:
            self._relay.send_soon(self._collection, decided.id, messages)
        return pushed


def routing_id(subject: RoutedSubject) -> str:
    """Make the `_id` of the decision about one revision of a subject."""
    return f"{record_id(subject.institution, subject.uid)}/{subject.revision}"


def _decided(document: Document) -> Decided:
    return Decided(
        id=document["_id"],
        institution=document["institution"],
        subject_uid=document["subject_uid"],
        revision=document["revision"],
        reason=document["reason"],
        matches=tuple(
            Match(place=place, runs=_runs(each), job=JobRequestedV1.model_validate(each["job"]))
            for place, each in enumerate(document["decisions"])
            if each["matched"]
        ),
    )


def _pushed_until(place: int, runs: int) -> Document:
    """Say that a decision was pushed so often, in both shapes of its record."""
    field = f"decisions.{place}.runs"
    if runs > 1:
        return {field: runs}
    return {"$or": [{field: runs}, {field: {"$exists": False}, f"decisions.{place}.on_request": runs == 0}]}


def _runs(decision: Document) -> int:
    """Read how often a job was asked for; the records of earlier releases do not say (migration 0001)."""
    runs: int = decision.get("runs", 0 if decision["on_request"] else 1)
    return runs


def _document(routing: Routing, messages: Sequence[Outgoing]) -> Document:
    subject = routing.subject
    return {
        "_id": routing_id(subject),
        "institution": subject.institution,
        "scope": subject.scope.value,
        "study_instance_uid": subject.study_instance_uid,
        "subject_uid": subject.uid,
        "revision": subject.revision,
        "decisions": [_decision(routing, each) for each in routing.decision.decisions],
        "job_ids": [job.job_id for job in routing.jobs],
        "reason": routing.decision.reason,
        "wishes_seen": not routing.waits,
        "decided_at": datetime.now(UTC),
        "outbox": [message.document() for message in messages],
    }


def _decision(routing: Routing, decision: UseCaseDecision) -> dict[str, Any]:
    return {
        "use_case": decision.use_case.use_case,
        "version": decision.use_case.version,
        "matched": decision.matched,
        "on_request": decision.on_request,
        "runs": 0 if decision.on_request or not decision.matched else 1,
        "conditions": [
            {"name": each.name, "expression": each.expression, "answer": each.answer.value, "reason": each.reason}
            for each in decision.answers
        ],
        # The whole request, so that a job can be asked for (again) without deciding (again).
        "job": routing.job_of(decision).model_dump(mode="json") if decision.matched else None,
    }
