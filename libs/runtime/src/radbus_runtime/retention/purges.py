"""`purges`: one document a deletion, from when it is asked for; it tells how far it is, and stays."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from radbus_contracts.errors import TransientError
from radbus_storage.documents import NOW, Collection, Document, Documents, Index, after
from radbus_storage.errors import AlreadyThereError
from radbus_storage.records import PURGES

from radbus_runtime.events import Outgoing
from radbus_runtime.outbox import OUTBOX_INDEX
from radbus_runtime.progress import beat
from radbus_runtime.retention.order import Order, Plan

PURGE_INDEXES: Final = (
    Index((("institution", 1), ("kind", 1), ("subject_uid", 1)), unique=True, only_where={"open": True}),
    Index((("try_at", 1),), only_where={"open": True}),
    Index((("due_at", 1),), only_where={"open": True}),
    # What arriving instances ask: was their study purged while they came in?
    Index((("institution", 1), ("study_instance_uid", 1), ("finished_at", 1))),
    Index((("institution", 1), ("asked_at", -1))),
    Index((("asked_at", -1),)),
    OUTBOX_INDEX,
)
LEASE_S: Final = 120.0  # longer than any call to a store may take
PULSE: Final = "retention"
_RENEW_AFTER_S: Final = 20.0


class ClaimLostError(TransientError):
    """Another replica has this purge now, or it cannot be told whether: this one must erase nothing more."""


@dataclass(slots=True)
class Claim:
    """A purge that this replica, and no other, carries out for now."""

    purges: Purges
    id: str
    holder: str
    record: Document
    taken_at: float = field(default_factory=time.monotonic)

    @property
    def order(self) -> Order:
        """What was asked for."""
        return Order.of(self.record)

    @property
    def plan(self) -> Plan | None:
        """What goes; None while nothing was erased yet."""
        return None if self.record["plan"] is None else Plan.of(self.order, self.record["plan"])

    async def hold(self) -> None:
        """Prolong the claim when it is time; to be called before anything is erased.

        Raises:
            ClaimLostError: Another has it.
        """
        beat(PULSE, within_s=LEASE_S)  # a large study takes longer than a round of the sweep otherwise may
        now = time.monotonic()
        if now - self.taken_at < _RENEW_AFTER_S:
            return
        if now - self.taken_at > LEASE_S:
            raise ClaimLostError(f"purge {self.id}: it was held for too long without a word")
        await self.note({})

    async def note(
        self, change: Mapping[str, Any], *, counts: Mapping[str, int] | None = None, push: Sequence[Outgoing] = ()
    ) -> None:
        """Write down how far it is, and prolong the claim; what is given is taken as it is, `$$NOW` as the time.

        Raises:
            ClaimLostError: Another has it.
        """
        asked_at = time.monotonic()
        told: Document = {name: NOW if value == NOW else {"$literal": value} for name, value in change.items()}
        for what, count in (counts or {}).items():
            told[f"counts.{what}"] = {"$add": [{"$ifNull": [f"$counts.{what}", 0]}, count]}
        if push:
            told["outbox"] = {"$concatArrays": ["$outbox", {"$literal": [each.document() for each in push]}]}
        mine = {"_id": self.id, "lease.holder": self.holder}
        found = await self.purges.collection.update_and_get(mine, [{"$set": {**told, "lease.until": after(LEASE_S)}}])
        if found is None:
            raise ClaimLostError(f"purge {self.id}: another replica has it")
        self.record, self.taken_at = found, asked_at

    async def let_go(self, *, again_s: float, why: str) -> None:
        """Let anyone try again later."""
        change = {"try_at": after(again_s), "waits_for": {"$literal": why}, "lease.until": NOW}
        await self.purges.collection.update({"_id": self.id, "lease.holder": self.holder}, [{"$set": change}])


class Purges:
    """Asks for deletions, and gives them to whoever carries them out."""

    def __init__(self, documents: Documents) -> None:
        self.collection: Collection = documents[PURGES]
        self.indexes = PURGE_INDEXES

    async def ask(self, order: Order) -> tuple[str, bool]:
        """Write down what is to be erased; return its id, and false where the same subject is being purged already."""
        purge_id = str(uuid4())
        told = asdict(order) | {"what": [each.value for each in order.what], "kind": order.kind.value}
        change: Document = {name: {"$literal": value} for name, value in (told | _NEW).items()}
        times = {"asked_at": NOW, "try_at": NOW, "lease": {"holder": "", "until": NOW}}
        try:
            await self.collection.update({"_id": purge_id}, [{"$set": {**change, **times}}], upsert=True)
        except AlreadyThereError:
            where = {"institution": order.institution, "kind": order.kind.value, "subject_uid": order.subject_uid}
            found = await self.collection.find_one({**where, "open": True}, only={"_id": 1})
            if found is None:  # it has ended in between
                return await self.ask(order)
            return str(found["_id"]), False
        return purge_id, True

    async def claim(self, purge_id: str | None = None) -> Claim | None:
        """Take a purge that is due to be tried and that nobody has; the one that waits for longest, or this one."""
        holder = str(uuid4())
        free: Document = {"$lte": ["$lease.until", NOW]}
        if purge_id is None:
            where: Document = {"open": True, "$expr": {"$and": [free, {"$lte": ["$try_at", NOW]}]}}
        else:
            where = {"_id": purge_id, "open": True, "$expr": free}
        change = {"lease": {"holder": holder, "until": after(LEASE_S)}, "attempts": {"$add": ["$attempts", 1]}}
        asked_at = time.monotonic()
        found = await self.collection.update_and_get(where, [{"$set": change}], sort=(("try_at", 1),))
        return None if found is None else Claim(self, str(found["_id"]), holder, found, asked_at)

    async def get(self, purge_id: str) -> Document | None:
        """Read one."""
        return await self.collection.find_one({"_id": purge_id}, only={"outbox": 0})

    async def list(self, *, institution: str | None, only_open: bool, limit: int) -> list[Document]:
        """Read purges, the newest first."""
        where: Document = {"institution": institution} if institution is not None else {}
        if only_open:
            where["open"] = True
        return await self.collection.find(where, limit=limit, sort=(("asked_at", -1),), only={"outbox": 0})

    async def oldest_due(self) -> datetime | None:
        """Return when the longest overdue of the open purges was due."""
        found = await self.collection.find(
            {"open": True, "due_at": {"$type": "date"}}, limit=1, sort=(("due_at", 1),), only={"due_at": 1}
        )
        return found[0]["due_at"] if found else None

    async def overlapped(self, institution: str, study_instance_uid: str, *, last_s: float) -> bool:
        """Say whether instances of a study were being erased at some time of the last so many seconds."""
        begun = {"$subtract": [NOW, round(last_s * 1000)]}
        where = {
            "institution": institution,
            "study_instance_uid": study_instance_uid,
            "erasing_since": {"$type": "date"},
            "$or": [{"finished_at": None}, {"$expr": {"$gte": ["$finished_at", begun]}}],
        }
        return await self.collection.find_one(where, only={"_id": 1}) is not None


_NEW: Final[Document] = {
    "open": True,
    "state": "waiting",
    "waits_for": None,
    "plan": None,
    "counts": {},
    "steps": {},
    "attempts": 0,
    "erasing_since": None,
    "finished_at": None,
    "outbox": [],
}
