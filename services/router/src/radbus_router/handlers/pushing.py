"""Pushing jobs that were decided before: on request, and again."""

from __future__ import annotations

from radbus_contracts import identity
from radbus_contracts.errors import TransientError
from radbus_contracts.facts import JobRequestedV1
from radbus_contracts.topology import JOB_REQUESTED
from radbus_runtime.events import Outgoing, Teller

from radbus_router.adapters.routings import Routings, routing_id
from radbus_router.adapters.wishes import Wishes
from radbus_router.domain.requesting import RUN_LIMIT, Decided
from radbus_router.domain.routing import RoutedSubject

_TRIES = 10


class BusyError(TransientError):
    """Too many requests for the same thing at the same moment."""


class JobPusher:
    """Asks for the jobs of decisions, each run once, however many ask for it at the same moment."""

    def __init__(self, routings: Routings, wishes: Wishes, teller: Teller) -> None:
        self._routings = routings
        self._wishes = wishes
        self._teller = teller

    async def push(self, decided: Decided, *, recompute: bool) -> tuple[JobRequestedV1, ...]:
        """Push what was never pushed of a decision, or all of it once more; return the jobs.

        Raises:
            BusyError: Others were faster each time.
        """
        newest: Decided | None = decided
        for _ in range(_TRIES):
            wanted = newest.wanted(recompute=recompute) if newest else ()
            if newest is None or not wanted:
                return ()
            asked = {each.place: each.next_job(newest.institution) for each in wanted}
            messages = [job_message(self._teller, job, newest.institution) for job in asked.values()]
            if await self._routings.push(newest, asked, messages):
                return tuple(asked.values())
            newest = await self._routings.read(newest.institution, newest.id)
        raise BusyError(f"expected fewer requests at once for {decided.subject_uid}")

    async def push_after(self, decided: Decided, place: int, run: int) -> str | None:
        """Push the run that follows one of a decision's; return its job's id, also where it was pushed before.

        None where it was computed as often as it may be.

        Raises:
            BusyError: Others were faster each time.
        """
        newest: Decided | None = decided
        for _ in range(_TRIES):
            match = next((each for each in newest.matches if each.place == place), None) if newest else None
            if newest is None or match is None:
                break
            if match.runs > run:
                return match.id_of_run(newest.institution, run + 1)
            if match.runs >= RUN_LIMIT:
                return None
            job = match.next_job(newest.institution)
            message = job_message(self._teller, job, newest.institution)
            if await self._routings.push(newest, {place: job}, [message]):
                return job.job_id
            newest = await self._routings.read(newest.institution, newest.id)
        raise BusyError(f"expected fewer requests at once for {decided.subject_uid}")

    async def push_wished(self, subject: RoutedSubject) -> tuple[JobRequestedV1, ...]:
        """Push what was just recorded and somebody has asked for already.

        That is: for the series, for its study or for one of the study's series within a day, or ever for an earlier
        revision. Whoever asks leaves the wish before looking at the record, and here the record is written before
        looking for the wish: one of the two sees the other, and if both do, each job is still pushed once.
        """
        uids = (subject.study_instance_uid, *subject.series_instance_uids)
        wished = await self._wishes.is_there(subject.institution, uids)
        if not wished and not await self._routings.was_asked_before(subject):
            return ()
        decided = await self._routings.read(subject.institution, routing_id(subject))
        return await self.push(decided, recompute=False) if decided else ()


def job_message(teller: Teller, job: JobRequestedV1, institution: str) -> Outgoing:
    """Make the message that asks for a job; the same job always makes the same."""
    return teller.tell(
        JOB_REQUESTED,
        job,
        subject=job.job_id,
        institution=institution,
        event_id=identity.event_id(JOB_REQUESTED.routing_key, job.job_id),
    )
