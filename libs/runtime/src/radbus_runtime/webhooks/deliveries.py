"""`deliveries`: what is to be told to a webhook, until it was told or given up; one replica at a time tries each."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from radbus_storage import records
from radbus_storage.documents import NOW, Document, Documents, Index, after
from radbus_storage.errors import AlreadyThereError

from radbus_runtime.webhooks.subscriptions import Webhook

REMOVED: Final = "the webhook was removed"
TEST_TYPE: Final = "radbus.webhook.test.v1"
_KEPT_S: Final = 30 * 24 * 3600
_WAITING: Final = {"state": "waiting"}
DELIVERY_INDEXES: Final = (
    Index((("state", 1), ("try_at", 1), ("webhook_id", 1), ("asked_at", 1)), only_where=_WAITING),
    Index((("institution", 1), ("study_instance_uid", 1))),
    Index((("webhook_id", 1), ("asked_at", -1))),
    Index((("asked_at", -1),)),
    Index((("ended_at", 1),), expire_after_s=_KEPT_S),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """An event as it is to be sent, with the UIDs by which it is found and erased."""

    event_id: str
    type: str
    body: str
    traceparent: str | None
    job_id: str | None = None
    study_instance_uid: str = ""
    series_instance_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Try:
    """One try that this replica, and no other, makes now."""

    delivery_id: str
    webhook_id: str
    event_id: str
    type: str
    body: str
    traceparent: str | None
    number: int  # of all tries, from 1
    tries: int  # of these, those since it is tried: an operator may have begun anew


class Deliveries:
    """Opens deliveries, gives out tries, and keeps how they ended; all times are the database's."""

    def __init__(self, documents: Documents, *, claim_s: float = 60.0) -> None:
        """Take the database; `claim_s` is how long a try is believed to live: longer than any can take."""
        self.collection = documents[records.DELIVERIES]
        self._claim_s = claim_s

    async def open(self, webhook: Webhook, telling: Telling, *, give_up_s: float) -> str:
        """Write down that a webhook is to be told; the same event once only."""
        delivery_id = f"{webhook.id}/{telling.event_id}"
        told: Document = {
            "webhook_id": webhook.id,
            "institution": webhook.institution,
            "event_id": telling.event_id,
            "type": telling.type,
            "job_id": telling.job_id,
            "study_instance_uid": telling.study_instance_uid,
            "series_instance_uids": list(telling.series_instance_uids),
            "body": telling.body,
            "traceparent": telling.traceparent,
            "state": "waiting",
            "reason": None,
            "attempts": 0,
            "tries_before": 0,
            "ended_at": None,
        }
        new: Document = {name: {"$literal": value} for name, value in told.items()}
        new |= {"asked_at": NOW, "try_at": NOW, "give_up_at": after(give_up_s)}
        # Only what is not there yet is written: the document that has ended stays as it is.
        change = {name: {"$ifNull": [f"${name}", value]} for name, value in new.items()}
        with suppress(AlreadyThereError):  # of two that open it at once
            await self.collection.update({"_id": delivery_id}, [{"$set": change}], upsert=True)
        return delivery_id

    async def claim(self, *, but: Ids[str] = ()) -> Try | None:
        """Take the delivery that is due for longest, but of none of these webhooks."""
        where: Document = {**_WAITING, "$expr": {"$lte": ["$try_at", NOW]}}
        if but:
            where["webhook_id"] = {"$nin": sorted(but)}
        change = {"try_at": after(self._claim_s), "attempts": {"$add": ["$attempts", 1]}}
        found = await self.collection.update_and_get(where, [{"$set": change}], sort=(("try_at", 1),))
        if found is None:
            return None
        return Try(
            delivery_id=found["_id"],
            webhook_id=found["webhook_id"],
            event_id=found["event_id"],
            type=found["type"],
            body=found["body"],
            traceparent=found["traceparent"],
            number=found["attempts"],
            tries=found["attempts"] - found["tries_before"],
        )

    async def delivered(self, made: Try) -> None:
        """Note that the receiver has taken it; also if it was claimed anew meanwhile, since it has."""
        await self.collection.update(
            {"_id": made.delivery_id, **_WAITING},
            [{"$set": {"state": "delivered", "reason": None, "ended_at": NOW}}],
        )

    async def not_delivered(self, made: Try, reason: str, *, again_s: float | None) -> bool:
        """Note a try in vain, and when to try again; without that, or when its time is over, it has failed for good.

        Return whether it has.
        """
        over: bool | Document = True
        if again_s is not None:
            over = {"$gt": [after(again_s), "$give_up_at"]}
        change = {
            "reason": {"$literal": reason},
            "state": {"$cond": [over, "failed", "waiting"]},
            "ended_at": {"$cond": [over, NOW, None]},
            "try_at": NOW if again_s is None else after(again_s),
        }
        mine = {"_id": made.delivery_id, "attempts": made.number, **_WAITING}
        found = await self.collection.update_and_get(mine, [{"$set": change}])
        return found is not None and found["state"] == "failed"

    async def try_again(self, where: Document, *, give_up_s: float) -> int:
        """Try again what has failed, as if it were new; return how many."""
        change = {
            "state": "waiting",
            "try_at": NOW,
            "give_up_at": after(give_up_s),
            "ended_at": None,
            "tries_before": "$attempts",
        }
        return await self.collection.update_many({**where, "state": "failed"}, [{"$set": change}])

    async def get(self, delivery_id: str) -> Document | None:
        """Read one."""
        return await self.collection.find_one({"_id": delivery_id})

    async def list(self, where: Document, *, limit: int) -> Sequence[Document]:
        """Read some, newest first, without their bodies."""
        return await self.collection.find(where, limit=limit, sort=(("asked_at", -1),), only={"body": 0})

    async def waiting(self, *, limit: int = 100_000) -> int:
        """Count what is not yet told."""
        return await self.collection.count(_WAITING, limit=limit)

    async def oldest_waiting_s(self) -> float:
        """Return for how many seconds the longest waiting waits; 0 where none does."""
        oldest = {"$group": {"_id": None, "since": {"$min": "$asked_at"}}}
        waited = {"$project": {"s": {"$divide": [{"$subtract": [NOW, "$since"]}, 1000]}}}
        found = await self.collection.aggregate([{"$match": _WAITING}, oldest, waited], limit=1)
        return max(0.0, found[0]["s"]) if found else 0.0
