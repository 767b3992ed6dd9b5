"""The sweep: finds what is due by the policy, asks for its deletion, and goes on with what others have begun."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog
from radbus_contracts.errors import PermanentError, RadbusError
from radbus_storage import records
from radbus_storage.documents import NOW, Collection, Document, Documents, Index, after
from radbus_storage.errors import AlreadyThereError

from radbus_runtime.progress import beat
from radbus_runtime.retention import metrics
from radbus_runtime.retention.locks import release_forgotten
from radbus_runtime.retention.order import EVERYTHING, Kind, Order, What
from radbus_runtime.retention.picture import Dues, Picture, dues_of
from radbus_runtime.retention.policy import RetentionPolicy
from radbus_runtime.retention.purger import Purger
from radbus_runtime.retention.purges import PULSE, Purges
from radbus_runtime.retention.reading import PictureReader

log = structlog.get_logger(__name__)

LOOK_INDEX: Final = Index((("look_at", 1),))
"""Of `studies` and `runs`: when something of one may be due."""
_SWEEP: Final = "retention"
_TURN_S: Final = 60.0
_FAILED_AGAIN: Final = timedelta(days=1)
_AGAIN: Final = timedelta(minutes=10)  # where something is under process, or is being purged


class RetentionSweep:
    """One replica at a time looks for what is due; any carries out what is asked for."""

    def __init__(
        self,
        documents: Documents,
        purges: Purges,
        purger: Purger,
        *,
        policy: RetentionPolicy,
        every_s: float,
        round_limit: int,
    ) -> None:
        self._documents = documents
        self._purges = purges
        self._purger = purger
        self._policy = policy
        self._reader = PictureReader(documents)
        self._every_s = every_s
        self._round_limit = round_limit
        self._replica = str(uuid4())
        self._sweeps = documents[records.SWEEPS]

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            self._beat()
            await asyncio.sleep(self._every_s)
            try:
                await self.sweep_once()
            except RadbusError as error:
                log.warning("retention.sweep_failed", exc_info=error)

    async def sweep_once(self) -> None:
        """Ask for the deletion of what is due, and carry out what is open; at most so many of each a round.

        What is locked for nothing is given back.
        """
        if not self._policy.keeps_everything and await self._take_turn():
            await self._look(self._documents[records.STUDIES], Kind.STUDY)
            await self._look(self._documents[records.RUNS], Kind.RUN)
        for _ in range(self._round_limit):
            claim = await self._purges.claim()
            if claim is None:
                break
            self._beat()
            await self._purger.run(claim)
        await release_forgotten(self._documents)
        await self._measure()

    async def _look(self, collection: Collection, kind: Kind) -> None:
        now = await self._documents.now()
        for where in ({"look_at": None}, {"look_at": {"$lte": now}}):
            found = await collection.find(
                where,
                limit=self._round_limit,
                sort=(("look_at", 1),),
                only={"institution": 1, "study_instance_uid": 1, "touches": 1},
            )
            for record in found:
                self._beat()
                try:
                    look_at = await self._ask_for_due(kind, record, now)
                except (PermanentError, LookupError, TypeError, ValueError) as error:
                    # A record is not as it should be: it must not hold up the others.
                    log.exception("retention.not_looked_at", record=record["_id"], exc_info=error)
                    look_at = now + _FAILED_AGAIN
                # What has been touched since is looked at again.
                same = {"_id": record["_id"], "touches": record.get("touches"), **where}
                await collection.update(same, {"$set": {"look_at": look_at}})

    async def _ask_for_due(self, kind: Kind, record: Document, now: datetime) -> datetime:
        """Ask for the deletion of what of a study or run is due; return when to look at it again."""
        institution = record["institution"]
        if kind is Kind.RUN:
            uid, picture = record["_id"], await self._reader.run(institution, record["_id"])
        else:
            uid = record["study_instance_uid"]
            picture = await self._reader.study(institution, uid)
        if picture is None:
            return now + _AGAIN
        dues = dues_of(picture, self._policy)
        order = order_of(kind, uid, picture, dues, now)
        if order is not None:
            _, is_new = await self._purges.ask(order)
            if is_new:
                log.info("purge.asked", institution=institution, kind=kind.value, subject_uid=uid, what=[*order.what])
            return now + _AGAIN
        if picture.busy(now) is not None:
            return now + _AGAIN
        # A job that is asked for later is due no sooner than the shortest period from now.
        new_at = now + timedelta(days=max(1, self._policy.shortest_days))
        return min(dues.until(now) or new_at, new_at)

    def _beat(self) -> None:
        beat(PULSE, within_s=60 + 2 * self._every_s)

    async def _take_turn(self) -> bool:
        """Take the turn of looking, unless another replica has it; with another policy all is looked at again."""
        free = {"$or": [{"$eq": ["$replica", self._replica]}, {"$lt": ["$until", NOW]}]}
        change = {
            "replica": {"$cond": [free, self._replica, "$replica"]},
            "until": {"$cond": [free, after(max(_TURN_S, 2 * self._every_s)), "$until"]},
        }
        try:
            turn = await self._sweeps.update_and_get({"_id": _SWEEP}, [{"$set": change}], upsert=True)
        except AlreadyThereError:
            return False
        if turn is None or turn["replica"] != self._replica:
            return False
        if turn.get("policy") != self._policy.digest:
            for name in (records.STUDIES, records.RUNS):
                await self._documents[name].update_many({"look_at": {"$ne": None}}, {"$set": {"look_at": None}})
            await self._sweeps.update({"_id": _SWEEP}, {"$set": {"policy": self._policy.digest}})
        return True

    async def _measure(self) -> None:
        due_at = await self._purges.oldest_due()
        now = await self._documents.now()
        metrics.oldest_overdue.set(0 if due_at is None else max(0.0, (now - due_at).total_seconds()))


def order_of(kind: Kind, uid: str, picture: Picture, dues: Dues, now: datetime) -> Order | None:
    """Ask for all that is due of a study or run in one purge; None where nothing is."""
    outputs = {job_id: at for job_id, at in dues.outputs_at.items() if at <= now}
    inputs_at = dues.inputs_at if dues.inputs_at is not None and dues.inputs_at <= now else None
    if dues.records_at is not None and dues.records_at <= now:
        what: tuple[What, ...] = EVERYTHING
    else:
        what = tuple(each for each, due in ((What.INPUTS, inputs_at), (What.OUTPUTS, outputs)) if due)
    if not what:
        return None
    times = [at for at in (inputs_at, dues.records_at if what is EVERYTHING else None, *outputs.values()) if at]
    return Order(
        institution=picture.institution,
        kind=kind,
        subject_uid=uid,
        study_instance_uid=picture.study_instance_uid,
        what=what,
        job_ids=None if what is EVERYTHING else tuple(outputs),
        by="policy",
        reason="kept for as long as the policy says",
        by_policy=True,
        due_at=min(times),
    )
