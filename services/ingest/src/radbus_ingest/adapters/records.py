"""The records of instances, series and studies: each change is one atomic update, compared and timed by the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from radbus_contracts.facts import Source
from radbus_contracts.identity import record_id
from radbus_dicom.reading import Header
from radbus_runtime.events import Outgoing
from radbus_runtime.outbox import OUTBOX_INDEX
from radbus_runtime.retention.locks import LOCK_INDEX
from radbus_runtime.retention.sweeping import LOOK_INDEX
from radbus_runtime.tracing import current_traceparent
from radbus_storage.documents import NOW, Collection, Document, Documents, Index, after
from radbus_storage.errors import AlreadyThereError, StoreFailedError
from radbus_storage.records import INSTANCES, SERIES, STUDIES

_PAGE: Final = 200
_ONE_STUDY_LIMIT: Final = 10_000
TRACES_KEPT: Final = 16
_QUIET: Final = {"$expr": {"$lte": ["$quiet_at", NOW]}}

_INSTANCE_INDEXES: Final = (
    Index((("institution", 1), ("series_instance_uid", 1), ("sop_instance_uid", 1))),
    Index((("institution", 1), ("study_instance_uid", 1))),
)
_QUIET_INDEX: Final = Index((("quiet_at", 1),), only_where={"state": "receiving"})
_SERIES_INDEXES: Final = (
    Index((("institution", 1), ("study_instance_uid", 1))),
    _QUIET_INDEX,
    OUTBOX_INDEX,
    LOCK_INDEX,
)
_STUDY_INDEXES: Final = (
    _QUIET_INDEX,
    OUTBOX_INDEX,
    LOOK_INDEX,
    LOCK_INDEX,
    Index((("institution", 1), ("quiet_at", 1))),
)


class BeingPurgedError(StoreFailedError):
    """A study is being purged: soon it can be touched again."""


class InstanceRecords:
    """`instances`: written once, never changed."""

    def __init__(self, documents: Documents) -> None:
        self.collection = documents[INSTANCES]
        self.indexes = _INSTANCE_INDEXES

    async def content_of(self, institution: str, sop_instance_uid: str) -> str | None:
        """Return the sha256 under which an instance is recorded, or None."""
        found = await self.collection.find_one({"_id": record_id(institution, sop_instance_uid)}, only={"sha256": 1})
        return None if found is None else str(found["sha256"])

    async def add(self, institution: str, header: Header, *, object_key: str, size_bytes: int, sha256: str) -> bool:
        """Record an instance whose bytes are in the object store; False when its UID is recorded already."""
        document = {
            "_id": record_id(institution, header.sop_instance_uid),
            "institution": institution,
            "study_instance_uid": header.study_instance_uid,
            "series_instance_uid": header.series_instance_uid,
            "sop_instance_uid": header.sop_instance_uid,
            "sop_class_uid": header.sop_class_uid,
            "transfer_syntax_uid": header.transfer_syntax_uid,
            "modality": header.modality,
            "object_key": object_key,
            "size_bytes": size_bytes,
            "sha256": sha256,
            "elements": header.elements,
            "stored_at": datetime.now(UTC),
        }
        try:
            await self.collection.insert(document)
        except AlreadyThereError:
            return False
        return True

    async def count(self, institution: str, series_instance_uid: str) -> int:
        """Count a series' instances."""
        return await self.collection.count({"institution": institution, "series_instance_uid": series_instance_uid})

    async def of_series(self, institution: str, series_instance_uid: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Give SOPInstanceUID and elements of each instance, read page by page."""
        last = ""
        while True:
            page = await self.collection.find(
                {
                    "institution": institution,
                    "series_instance_uid": series_instance_uid,
                    "sop_instance_uid": {"$gt": last},
                },
                limit=_PAGE,
                sort=(("sop_instance_uid", 1),),
                only={"sop_instance_uid": 1, "elements": 1},
            )
            for document in page:
                yield document["sop_instance_uid"], document["elements"]
            if len(page) < _PAGE:
                return
            last = page[-1]["sop_instance_uid"]

    async def elements_of(self, institution: str, sop_instance_uid: str) -> dict[str, Any]:
        """Return one instance's elements, empty when there is none."""
        found = await self.collection.find_one({"_id": record_id(institution, sop_instance_uid)}, only={"elements": 1})
        return {} if found is None else dict(found["elements"])


@dataclass(frozen=True, slots=True)
class Touch:
    """That something of a series or study has come, from where, and how long it has to be quiet now."""

    institution: str
    study_instance_uid: str
    source: Source
    quiet_s: float


class SeriesRecords:
    """`series`: touched by every request, completed by whichever replica is first."""

    def __init__(self, documents: Documents) -> None:
        self.collection = documents[SERIES]
        self.indexes = _SERIES_INDEXES

    async def touch(self, touch: Touch, series_instance_uid: str, modality: str) -> None:
        """Open a series, or open it again, so that it is completed `quiet_s` from now or later."""
        own = {
            "series_instance_uid": {"$literal": series_instance_uid},
            "modality": {"$ifNull": ["$modality", {"$literal": modality}]},
            "instance_count": _kept("instance_count", 0),
            "instances_digest": _kept("instances_digest", ""),
            "elements": _kept("elements", {}),
            "all": _kept("all", {}),
        }
        await _touch(self.collection, record_id(touch.institution, series_instance_uid), touch, own)

    async def completed_count(self, institution: str, series_instance_uid: str) -> int | None:
        """Return how many instances a series was completed with, None when it is open, being purged or unknown."""
        where = {"_id": record_id(institution, series_instance_uid), "state": "complete", "purge": None}
        found = await self.collection.find_one(where, only={"instance_count": 1})
        return None if found is None else int(found["instance_count"])

    async def due(self, *, limit: int) -> list[Document]:
        """Return the series that have been quiet for their time."""
        return await _due(self.collection, limit)

    async def postpone(self, record: Document, seconds: float) -> None:
        """Look again later."""
        await _postpone(self.collection, record, seconds)

    async def of_study(self, institution: str, study_instance_uid: str) -> list[Document]:
        """Return state and revision of a study's series."""
        return await self.collection.find(
            {"institution": institution, "study_instance_uid": study_instance_uid},
            limit=_ONE_STUDY_LIMIT,
            only={"series_instance_uid": 1, "state": 1, "revision": 1},
        )

    async def complete(self, record: Document, news: Mapping[str, Any], told: Outgoing | None) -> bool:
        """Complete a series as it was read; False when something came since."""
        return await _complete(self.collection, record, news, told)


class StudyRecords:
    """`studies`: like series, one step later."""

    def __init__(self, documents: Documents) -> None:
        self.collection = documents[STUDIES]
        self.indexes = _STUDY_INDEXES

    async def touch(self, touch: Touch) -> None:
        """Open a study, or open it again."""
        own = {
            "series_instance_uids": _kept("series_instance_uids", []),
            "series_digest": _kept("series_digest", ""),
            "look_at": None,
        }
        study_id = record_id(touch.institution, touch.study_instance_uid)
        try:
            await _touch(self.collection, study_id, touch, own)
        except BeingPurgedError:
            # What was just stored may have come behind the purge's back: it looks once more.
            await self.collection.update({"_id": study_id, "purge": {"$ne": None}}, {"$set": {"disturbed": True}})
            raise

    async def due(self, *, limit: int) -> list[Document]:
        """Return the studies that have been quiet for their time."""
        return await _due(self.collection, limit)

    async def postpone(self, record: Document, seconds: float) -> None:
        """Look again later."""
        await _postpone(self.collection, record, seconds)

    async def complete(self, record: Document, news: Mapping[str, Any], told: Outgoing | None) -> bool:
        """Complete a study as it was read; False when something came since."""
        return await _complete(self.collection, record, news, told)


def _kept(name: str, otherwise: object) -> Document:
    return {"$ifNull": [f"${name}", {"$literal": otherwise}]}


def _with_last(traceparent: str | None) -> Document:
    """Keep from which requests a record came: since it was complete last, and only the latest of them."""
    before: Document = {"$cond": [{"$eq": ["$state", "receiving"]}, {"$ifNull": ["$traceparents", []]}, []]}
    own: Document = {"$literal": [traceparent] if traceparent else []}
    others: Document = {"$filter": {"input": before, "cond": {"$not": {"$in": ["$$this", own]}}}}
    return {"$slice": [{"$concatArrays": [others, own]}, -TRACES_KEPT]}


async def _postpone(collection: Collection, record: Document, seconds: float) -> None:
    where = {"_id": record["_id"], "touches": record.get("touches")}
    await collection.update(where, [{"$set": {"quiet_at": after(seconds)}}])


async def _touch(collection: Collection, document_id: str, touch: Touch, own: Document) -> None:
    change = {
        "institution": {"$literal": touch.institution},
        "study_instance_uid": {"$ifNull": ["$study_instance_uid", {"$literal": touch.study_instance_uid}]},
        "source": _kept("source", touch.source.model_dump(mode="json")),
        "state": {"$literal": "receiving"},
        "touches": {"$add": [{"$ifNull": ["$touches", 0]}, 1]},
        "quiet_at": after(touch.quiet_s),
        "revision": _kept("revision", 0),
        "accepted_at": NOW,
        "traceparent": {"$literal": current_traceparent()},
        "traceparents": _with_last(current_traceparent()),
        "outbox": _kept("outbox", []),
        **own,
    }
    free = {"_id": document_id, "purge": None}
    for _ in range(2):
        try:
            await collection.update(free, [{"$set": change}], upsert=True)
        except AlreadyThereError:  # another request made it between this one's look and its write, or it is not free
            continue
        return
    raise BeingPurgedError(f"{collection.name}: it is being purged")


async def _due(collection: Collection, limit: int) -> list[Document]:
    return await collection.find(
        {"state": "receiving", **_QUIET}, limit=limit, sort=(("quiet_at", 1),), only={"elements": 0, "all": 0}
    )


async def _complete(collection: Collection, record: Document, news: Mapping[str, Any], told: Outgoing | None) -> bool:
    """Change a record only if it was not touched since it was read: `touches` is the fence."""
    change: Document = {"$set": {"state": "complete", **news}}
    if told is not None:
        change["$push"] = {"outbox": told.document()}
    where = {"_id": record["_id"], "touches": record["touches"], "state": "receiving"}
    return await collection.update(where, change)
