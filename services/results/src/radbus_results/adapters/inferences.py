"""`inferences`: one document a result, with what is to be told of it, and the reading of them in pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

from radbus_contracts.facts import TriageStatus
from radbus_runtime.cursors import Place
from radbus_runtime.events import Outgoing
from radbus_runtime.outbox import OUTBOX_INDEX
from radbus_storage.documents import Collection, Document, Index
from radbus_storage.errors import AlreadyThereError

from radbus_results.domain.inference import Inference, Model
from radbus_results.domain.triage import Urgency

_NEWEST_FIRST = (("completed_at", -1), ("_id", -1))
_LONGEST_FIRST = (("completed_at", 1), ("_id", 1))
_STANDS: Final = {"superseded_by": None, "erased_at": None}
_NOT_JUDGED: Final[Document] = {"triage_reason": {"$gt": ""}}  # no other result has a reason
_CLASSES: Final[Mapping[Urgency, Document]] = {
    Urgency.CRITICAL: {"triage": TriageStatus.CRITICAL.value},
    Urgency.NOT_JUDGED: _NOT_JUDGED,
    Urgency.ROUTINE: {"triage": TriageStatus.ROUTINE.value, "triage_reason": None},
}
"""The classes of a worklist, in its order."""
INFERENCE_INDEXES = (
    Index((("institution", 1), *_NEWEST_FIRST)),
    Index((("institution", 1), ("study_instance_uid", 1), *_NEWEST_FIRST)),
    Index((("institution", 1), ("series_instance_uids", 1), *_NEWEST_FIRST)),
    Index((("institution", 1), ("use_case", 1), ("subject_uid", 1), ("revision", 1))),
    Index((("institution", 1), ("patient_key", 1), ("model.id", 1), *_NEWEST_FIRST)),
    # For worklists. Null within the keys would be a range, and what comes behind a range has no order.
    Index((("institution", 1), ("triage", 1), *_LONGEST_FIRST), only_where=_STANDS),
    Index((("institution", 1), *_LONGEST_FIRST), only_where={**_STANDS, **_NOT_JUDGED}),
    OUTBOX_INDEX,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a reader of inferences is looking for; None is anything."""

    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    model: str | None = None
    version: str | None = None
    use_case: str | None = None
    triage: TriageStatus | None = None
    since: datetime | None = None
    until: datetime | None = None
    patient_key: str | None = None
    model_id: str | None = None
    model_ids: tuple[str, ...] = ()  # that the reader may see; empty is any
    current_only: bool = False
    kept_only: bool = False


@dataclass(frozen=True, slots=True)
class WorklistPlace:
    """Where a page of a worklist ended."""

    urgency: Urgency
    at: datetime
    id: str


class Inferences:
    """Writes each inference once, and marks those that a newer one has overtaken."""

    def __init__(self, inferences: Collection) -> None:
        self.collection = inferences

    async def record(self, inference: Inference, message: Outgoing) -> bool:
        """Write a result together with the fact of it; say whether it was not there yet."""
        try:
            await self.collection.insert(_document(inference, message))
        except AlreadyThereError:
            return False
        return True

    async def supersede(self, inference: Inference) -> None:
        """Mark what an inference overtakes, and itself when a newer one was recorded before it."""
        same = {
            "institution": inference.institution,
            "use_case": inference.use_case,
            "subject_uid": inference.subject_uid,
        }
        # Both of two that are recorded at the same moment are written before either looks: one of them sees the other.
        older = {**same, "superseded_by": None, "$or": _beside(inference, "$lt")}
        await self.collection.update_many(older, {"$set": {"superseded_by": inference.id}})
        newer = await self.collection.find(
            {**same, "$or": _beside(inference, "$gt")},
            limit=1,
            sort=(("revision", -1), ("requested_at", -1)),
            only={"_id": 1},
        )
        if newer:
            mine = {"_id": inference.id, "superseded_by": None}
            await self.collection.update(mine, {"$set": {"superseded_by": newer[0]["_id"]}})

    async def get(self, institution: str, inference_id: str) -> Inference | None:
        """Read one."""
        found = await self.collection.find_one({"_id": inference_id, "institution": institution}, only={"outbox": 0})
        return None if found is None else _inference(found)

    async def get_all(self, institution: str, inference_ids: Sequence[str]) -> list[Inference]:
        """Read several, in the order in which they are named; what is not there is left out."""
        where = {"_id": {"$in": list(inference_ids)}, "institution": institution}
        found = await self.collection.find(where, limit=len(inference_ids) or 1, only={"outbox": 0})
        by_id = {each["_id"]: _inference(each) for each in found}
        return [by_id[each] for each in inference_ids if each in by_id]

    async def search(
        self, institution: str, search: Search, *, limit: int, after: Place | None = None
    ) -> list[Inference]:
        """Read a page, newest first, beginning after a place."""
        where: Document = {"institution": institution, **_filter(search)}
        if after is not None:
            same_time = {"completed_at": after.at, "_id": {"$lt": after.id}}
            where["$or"] = [{"completed_at": {"$lt": after.at}}, same_time]
        found = await self.collection.find(where, limit=limit, sort=_NEWEST_FIRST, only={"outbox": 0})
        return [_inference(each) for each in found]

    async def worklist(
        self, institution: str, search: Search, *, limit: int, after: WorklistPlace | None = None
    ) -> list[Inference]:
        """Read a page of what stands: critical, then not judged, then the rest, of each the longest waiting first."""
        where: Document = {"institution": institution, **_STANDS, **_filter(search)}
        found: list[Document] = []
        for urgency, behind in _stretches(after):
            if len(found) < limit and search.triage in {None, urgency.triage}:
                both = {"completed_at": {**where.get("completed_at", {}), **behind.pop("completed_at", {})}}
                ranges = {name: range_ for name, range_ in both.items() if range_}
                asked = {**where, **_CLASSES[urgency], **behind, **ranges}
                rest = limit - len(found)
                found += await self.collection.find(asked, limit=rest, sort=_LONGEST_FIRST, only={"outbox": 0})
        return [_inference(each) for each in found]


def _stretches(after: WorklistPlace | None) -> list[tuple[Urgency, Document]]:
    """Say what comes behind a place, in its order; in one query MongoDB would sort all of it in memory."""
    classes: list[tuple[Urgency, Document]] = [(each, {}) for each in _CLASSES]
    if after is None:
        return classes
    return [
        (after.urgency, {"completed_at": {"$eq": after.at}, "_id": {"$gt": after.id}}),
        (after.urgency, {"completed_at": {"$gt": after.at}}),
        *classes[list(_CLASSES).index(after.urgency) + 1 :],
    ]


def _beside(inference: Inference, comparison: str) -> list[Document]:
    at = {"requested_at": {comparison: inference.requested_at}}
    return [{"revision": {comparison: inference.revision}}, {"revision": inference.revision, **at}]


def _filter(search: Search) -> Document:
    wanted: Document = {
        "study_instance_uid": search.study_instance_uid,
        "series_instance_uids": search.series_instance_uid,
        "model.version": search.version,
        "use_case": search.use_case,
        "patient_key": search.patient_key,
        "model.id": search.model_id,
        "triage": search.triage.value if search.triage else None,
        "completed_at": {
            name: value for name, value in (("$gte", search.since), ("$lt", search.until)) if value is not None
        },
    }
    both: list[Document] = []
    if search.model is not None:
        both.append({"$or": [{"model.id": search.model}, {"model.name": search.model}]})
    if search.model_ids:
        both.append({"model.id": {"$in": list(search.model_ids)}})
    if search.current_only:
        both.append({"superseded_by": None})
    if search.kept_only:
        both.append({"erased_at": None})
    return {name: value for name, value in {**wanted, "$and": both}.items() if value}


def _document(inference: Inference, message: Outgoing) -> Document:
    document = asdict(inference)
    document["_id"] = document.pop("id")
    document["triage"] = inference.triage.value
    document["outbox"] = [message.document()]
    return document


def _inference(found: Mapping[str, Any]) -> Inference:
    # What was recorded before there was a field has it not: those that came later have a default.
    values = {each.name: found[each.name] for each in fields(Inference) if each.name in found}
    lists = ("series_instance_uids", "measurements", "findings", "limits", "comparisons")
    values |= {name: tuple(values.get(name, ())) for name in lists}
    values["files"] = {kind: tuple(keys) for kind, keys in values["files"].items()}
    values["model"] = Model(**values["model"])
    values["models"] = tuple(Model(**each) for each in values["models"])
    values["triage"] = TriageStatus(values["triage"])
    return Inference(id=found["_id"], **values)
