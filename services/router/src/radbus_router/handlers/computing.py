"""Asking for computation: of a series, of an instance's series, of a study."""

from __future__ import annotations

from radbus_contracts.facts import JobRequestedV1

from radbus_router.adapters.routings import Routings
from radbus_router.adapters.uploads import Uploads
from radbus_router.adapters.wishes import Wishes
from radbus_router.domain.requesting import (
    Answer,
    NotNewest,
    NotUploaded,
    Pushed,
    RerunAnswer,
    TooOften,
    conclude,
    is_awaited,
)
from radbus_router.handlers.pushing import JobPusher


class ComputeRequests:
    """Pushes what is decided, and remembers the wish for what is decided later.

    A series stands for the use cases of scope series about it and for those of scope study about its study; a study
    for those about it and about each of its series.
    """

    def __init__(
        self, uploads: Uploads, wishes: Wishes, routings: Routings, pusher: JobPusher, *, studies_are_routed: bool
    ) -> None:
        self._uploads = uploads
        self._wishes = wishes
        self._routings = routings
        self._pusher = pusher
        self._studies_are_routed = studies_are_routed

    async def ask(self, institution: str, uid: str, *, recompute: bool) -> Answer:
        """Push the jobs that were never pushed, or all of them once more."""
        upload = await self._uploads.find(institution, uid)
        if upload is None:
            return NotUploaded()
        # First the wish, then the look: a decision that is written in between finds the wish.
        await self._wishes.keep(institution, upload.uid)
        uids = [each.uid for each in (*upload.series, upload.study)]
        decided = await self._routings.newest(institution, uids)
        pushed: list[JobRequestedV1] = []
        for each in decided.values():
            pushed += await self._pusher.push(each, recompute=recompute)
        awaited = is_awaited(upload, decided, studies_are_routed=self._studies_are_routed)
        return conclude(decided, pushed, awaited=awaited, recompute=recompute)

    async def rerun(self, institution: str, uid: str, job_id: str) -> RerunAnswer:
        """Push the run that follows one job of this UID: the same one, however often it is asked for."""
        upload = await self._uploads.find(institution, uid)
        if upload is None:
            return NotUploaded()
        uids = [each.uid for each in (*upload.series, upload.study)]
        for decided in (await self._routings.newest(institution, uids)).values():
            for match in decided.matches:
                run = match.run_of(institution, job_id)
                if run is not None:
                    pushed = await self._pusher.push_after(decided, match.place, run)
                    return TooOften() if pushed is None else Pushed((pushed,))
        return NotNewest()
