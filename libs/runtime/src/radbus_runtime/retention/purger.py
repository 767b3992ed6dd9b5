"""Carries out one purge: lock, plan, erase, look whether anything is left, give back, tell."""

from __future__ import annotations

import time
from typing import Final, Protocol

import structlog
from radbus_contracts.errors import RadbusError, TransientError
from radbus_contracts.facts import InferencePurgedV1, StudyPurgedV1
from radbus_contracts.identity import event_id
from radbus_contracts.topology import INFERENCE_PURGED, STUDY_PURGED
from radbus_storage.documents import NOW, Documents

from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.retention import metrics
from radbus_runtime.retention.erasing import Eraser, LeftBehindError, Objects
from radbus_runtime.retention.locks import StudyLock
from radbus_runtime.retention.order import Kind, Order, Plan, What, plan_of, why_not_yet, with_newer
from radbus_runtime.retention.picture import Picture, dues_of
from radbus_runtime.retention.policy import RetentionPolicy
from radbus_runtime.retention.purges import Claim
from radbus_runtime.retention.reading import PictureReader

log = structlog.get_logger(__name__)

_TELLER: Final = Teller("retention")
_BUSY_AGAIN_S: Final = 300.0
_FAILED_AGAIN_S: Final = 30.0
_FAILED_AGAIN_LIMIT_S: Final = 1800.0
_PASSES: Final = 3  # so often things may be disturbed by what arrives before it is tried again later


class Audit(Protocol):
    """The audit trail: DICOM Study Deleted (DCM 110105, PS3.15 A.5.3.8)."""

    async def study_deleted(self, *, institution: str, user: str, plan: Plan) -> None:
        """Record it, at least once; raise TransientError where that cannot be done now."""
        ...


class Purger:
    """Erases what a purge names; whoever it is that dies at it, another goes on."""

    def __init__(self, documents: Documents, objects: Objects, *, policy: RetentionPolicy, audit: Audit) -> None:
        self._documents = documents
        self._objects = objects
        self._policy = policy
        self._audit = audit
        self._reader = PictureReader(documents)

    async def run(self, claim: Claim) -> str:
        """Carry out a purge as far as it can be; return its state, and why it waits is in its record."""
        started = time.monotonic()
        try:
            order = claim.order
            state, why = await self._run(claim, order)
        except (RadbusError, LookupError, TypeError, ValueError) as error:  # the last: a record is not as it should be
            metrics.purge_failures.inc()
            log.warning("purge.failed", purge_id=claim.id, attempts=claim.record["attempts"], exc_info=error)
            again_s = min(_FAILED_AGAIN_LIMIT_S, _FAILED_AGAIN_S * 2 ** min(10, claim.record["attempts"] - 1))
            why = str(error) if isinstance(error, RadbusError) else f"it cannot be read ({type(error).__name__})"
            await claim.let_go(again_s=again_s, why=why)
            return str(claim.record["state"])
        if why is not None:
            await claim.let_go(again_s=_BUSY_AGAIN_S, why=why)
        log.info(
            "purge.tried",
            purge_id=claim.id,
            institution=order.institution,
            kind=order.kind.value,
            subject_uid=order.subject_uid,
            what=[each.value for each in order.what],
            state=state,
            waits_for=why,
            counts=claim.record["counts"],
            duration_s=round(time.monotonic() - started, 3),
        )
        return state

    async def _run(self, claim: Claim, order: Order) -> tuple[str, str | None]:
        lock = StudyLock(self._documents, order.institution, order.study_instance_uid, claim.id)
        plan = claim.plan
        if plan is None:
            # First of all, so that what arrives from here on is not accepted: either it sees this, or the lock sees it.
            await claim.note({"erasing_since": NOW if order.locks else None})
            if order.locks and not await lock.take():
                return await self._back(claim, lock, "instances are coming in, or another purge has the study")
            picture = await self._picture(order)
            if why := picture.busy(await self._documents.now()):
                return await self._back(claim, lock, why)
            if order.by_policy and not await self._is_due(order, picture):
                return await self._withdraw(claim, lock)
            plan = plan_of(order, picture)
            await claim.note({"state": "erasing", "waits_for": None, "plan": plan.document()})
        elif "erased" in claim.record["steps"] and not (order.locks and await lock.is_held()):
            if order.locks:  # whoever died may have given back the study and not yet its series
                await lock.settle(plan)
            return await self._finish(claim, plan)
        elif order.locks and not await lock.take():
            return "erasing", "instances are coming in"
        return await self._finish(claim, await self._erase(claim, lock, plan))

    async def _erase(self, claim: Claim, lock: StudyLock, plan: Plan) -> Plan:
        """Erase until nothing is left; return the plan with what has come to it."""
        for left in reversed(range(_PASSES)):
            if plan.order.locks:
                await lock.calm()
            try:
                await self._erase_once(claim, plan)
            except LeftBehindError:  # something has come behind its back
                if not left:
                    raise
                plan = claim.plan or plan
                continue
            await claim.note({"steps.erased": NOW})
            if not plan.order.locks or await lock.settle(plan):
                return plan
        raise TransientError("instances of it are being sent all the time")

    async def _erase_once(self, claim: Claim, plan: Plan) -> None:
        order = plan.order
        eraser = Eraser(self._documents, self._objects, claim, plan)
        if What.OUTPUTS in order.what:
            await eraser.outputs()
            await claim.note({"steps.outputs": NOW})
        if What.INPUTS in order.what:
            await eraser.inputs()
            await claim.note({"steps.inputs": NOW})
        if What.RECORDS in order.what:
            # Before, too: the records that go tell of a job that is asked for and not made yet.
            await self._look_again(claim, plan)
            await eraser.records()
            await claim.note({"steps.records": NOW})
        await eraser.check(await self._documents.now())
        await self._look_again(claim, plan)

    async def _look_again(self, claim: Claim, plan: Plan) -> None:
        """Look whether a job was asked for since the plan was made; it goes as well, once it has ended.

        Raises:
            TransientError: It is under process.
            LeftBehindError: It is in the claim's plan now.
        """
        picture = await self._picture(plan.order)
        if why := why_not_yet(plan, picture, await self._documents.now()):
            raise TransientError(why)
        if (newer := with_newer(plan, picture)) != plan:
            await claim.note({"plan": newer.document()})
            raise LeftBehindError("a job of it was asked for meanwhile")

    async def _finish(self, claim: Claim, plan: Plan) -> tuple[str, str | None]:
        order = plan.order
        await self._audit.study_deleted(institution=order.institution, user=order.by, plan=plan)
        done = {"state": "finished", "open": False, "waits_for": None, "finished_at": NOW}
        await claim.note(done, push=_told(claim.id, plan))
        for what, count in claim.record["counts"].items():
            metrics.purged.labels(what).inc(count)
        return "finished", None

    async def _back(self, claim: Claim, lock: StudyLock, why: str) -> tuple[str, str | None]:
        """Give back what nothing was erased of."""
        if claim.order.locks:
            await lock.release()
        await claim.note({"erasing_since": None})
        return "waiting", why

    async def _withdraw(self, claim: Claim, lock: StudyLock) -> tuple[str, str | None]:
        """Give up what is not due any more: something of it has come since, or the policy is another."""
        if claim.order.locks:
            await lock.release()
        await claim.note({"state": "withdrawn", "open": False, "erasing_since": None, "finished_at": NOW})
        return "withdrawn", None

    async def _picture(self, order: Order) -> Picture:
        if order.kind is Kind.RUN:
            found = await self._reader.run(order.institution, order.subject_uid)
        else:
            found = await self._reader.study(order.institution, order.study_instance_uid)
        if found is None:
            now = await self._documents.now()
            return Picture(institution=order.institution, study_instance_uid=order.study_instance_uid, last_at=now)
        # What is under process elsewhere in the study does not concern a series.
        return found.about(order.subject_uid) if order.kind is Kind.SERIES else found

    async def _is_due(self, order: Order, picture: Picture) -> bool:
        now, dues = await self._documents.now(), dues_of(picture, self._policy)
        if What.RECORDS in order.what:
            return dues.records_at is not None and dues.records_at <= now
        if What.INPUTS in order.what and (dues.inputs_at is None or dues.inputs_at > now):
            return False
        return all(dues.outputs_at.get(each, now) <= now for each in order.job_ids or ())


def _told(purge_id: str, plan: Plan) -> list[Outgoing]:
    order = plan.order
    told = (
        [_inference_purged(purge_id, plan, place) for place in range(len(plan.jobs))]
        if order.kind is not Kind.RUN
        else []
    )
    if order.locks:
        fact = StudyPurgedV1(
            purge_id=purge_id,
            study_instance_uid=order.study_instance_uid,
            series_instance_uids=plan.series,
            whole_study=plan.whole_study,
            records=What.RECORDS in order.what,
            by_policy=order.by_policy,
        )
        told.append(
            _TELLER.tell(
                STUDY_PURGED,
                fact,
                subject=order.study_instance_uid,
                institution=order.institution,
                event_id=event_id("study.purged", purge_id),
            )
        )
    return told


def _inference_purged(purge_id: str, plan: Plan, place: int) -> Outgoing:
    order, job = plan.order, plan.jobs[place]
    fact = InferencePurgedV1(
        purge_id=purge_id,
        inference_id=job.id,
        job_id=job.job_id,
        use_case=job.use_case,
        study_instance_uid=order.study_instance_uid,
        series_instance_uids=job.series_instance_uids,
        subject_uid=job.subject_uid,
        revision=job.revision,
        by_policy=order.by_policy,
    )
    return _TELLER.tell(
        INFERENCE_PURGED,
        fact,
        subject=job.id,
        institution=order.institution,
        event_id=event_id("inference.purged", purge_id, job.id),
    )
