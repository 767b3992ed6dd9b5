"""Series that the router reads and routings that it writes, in MongoDB."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from radbus_contracts.errors import TransientError
from radbus_contracts.identity import record_id
from radbus_runtime.events import Outgoing
from radbus_runtime.outbox import OUTBOX_INDEX, OutboxRelay
from radbus_storage.documents import Collection, Document, Index
from radbus_storage.errors import AlreadyThereError

from radbus_router.domain.decision import UseCaseDecision
from radbus_router.domain.routing import Routing
from radbus_router.domain.variables import SeriesHeader

ROUTING_INDEXES = (
    Index((("institution", 1), ("subject_uid", 1), ("revision", -1))),
    Index((("institution", 1), ("study_instance_uid", 1))),
    OUTBOX_INDEX,
)
_HEADER = {"series_instance_uid": 1, "elements": 1, "all": 1, "instance_count": 1}


class SeriesMissingError(TransientError):
    """A series was said to be complete and its record is not there (yet)."""


class SeriesHeaders:
    """The header elements of series, as ingest has recorded them."""

    def __init__(self, series: Collection) -> None:
        self._series = series

    async def read(self, institution: str, series_instance_uids: Sequence[str]) -> list[SeriesHeader]:
        """Read the headers of these series.

        Raises:
            SeriesMissingError: One has no record.
        """
        ids = [record_id(institution, uid) for uid in series_instance_uids]
        found = await self._series.find(
            {"_id": {"$in": ids}, "institution": institution}, limit=max(1, len(ids)), only=_HEADER
        )
        missing = set(series_instance_uids) - {document["series_instance_uid"] for document in found}
        if missing:
            raise SeriesMissingError(
                f"expected a record of each completed series, missing: {', '.join(sorted(missing))}"
            )
        return [
            SeriesHeader(
                series_instance_uid=document["series_instance_uid"],
                elements=document["elements"],
                instance_count=document["instance_count"],
                distinct=document.get("all") or {},
            )
            for document in found
        ]


class Routings:
    """The decisions, each written once with all that it tells."""

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


def _document(routing: Routing, messages: Sequence[Outgoing]) -> Document:
    subject = routing.subject
    return {
        "_id": f"{record_id(subject.institution, subject.uid)}/{subject.revision}",
        "institution": subject.institution,
        "scope": subject.scope.value,
        "study_instance_uid": subject.study_instance_uid,
        "subject_uid": subject.uid,
        "revision": subject.revision,
        "decisions": [_decision(routing, each) for each in routing.decision.decisions],
        "job_ids": [job.job_id for job in routing.jobs],
        "reason": routing.decision.reason,
        "decided_at": datetime.now(UTC),
        "outbox": [message.document() for message in messages],
    }


def _decision(routing: Routing, decision: UseCaseDecision) -> dict[str, Any]:
    return {
        "use_case": decision.use_case.use_case,
        "version": decision.use_case.version,
        "matched": decision.matched,
        "on_request": decision.on_request,
        "conditions": [
            {"name": each.name, "expression": each.expression, "answer": each.answer.value, "reason": each.reason}
            for each in decision.answers
        ],
        # The whole request, so that a job can be asked for (again) without deciding (again).
        "job": routing.job_of(decision).model_dump(mode="json") if decision.matched else None,
    }
