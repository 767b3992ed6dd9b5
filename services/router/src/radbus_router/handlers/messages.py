"""Routing a completed series or study: decide, record, and ask for the jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from radbus_contracts import identity
from radbus_contracts.envelope import Event
from radbus_contracts.facts import Scope, SeriesCompletedV1, SeriesUnroutedV1, Source, StudyCompletedV1
from radbus_contracts.topology import SERIES_UNROUTED
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.stages import Stage, stage

from radbus_router.adapters.routings import Routings
from radbus_router.adapters.series import SeriesHeaders
from radbus_router.domain.decision import decide
from radbus_router.domain.routing import RoutedSubject, Routing
from radbus_router.domain.use_cases import UseCase
from radbus_router.domain.variables import Subject
from radbus_router.handlers.pushing import JobPusher, job_message

log = structlog.get_logger(__name__)


class CompletionHandlers:
    """Chooses the use cases of what is complete."""

    def __init__(
        self,
        use_cases: Sequence[UseCase],
        *,
        headers: SeriesHeaders,
        routings: Routings,
        pusher: JobPusher,
        teller: Teller,
    ) -> None:
        self._use_cases = use_cases
        self._headers = headers
        self._routings = routings
        self._pusher = pusher
        self._teller = teller

    async def on_series_completed(self, event: Event[SeriesCompletedV1]) -> None:
        """Choose the use cases of a series; say so when there is none."""
        with stage(Stage.ROUTE):
            await self._on_series_completed(event)

    async def _on_series_completed(self, event: Event[SeriesCompletedV1]) -> None:
        started = time.monotonic()
        series = event.data
        [header] = await self._headers.read(event.institution, [series.series_instance_uid])
        subject = RoutedSubject(
            institution=event.institution,
            scope=Scope.SERIES,
            study_instance_uid=series.study_instance_uid,
            series_instance_uids=(series.series_instance_uid,),
            revision=series.revision,
            accepted_at=series.accepted_at,
        )
        await self._route(subject, Subject.of_series(header), series.source, started)

    async def on_study_completed(self, event: Event[StudyCompletedV1]) -> None:
        """Choose the use cases of a study as a whole; where none is of that scope there is nothing to decide."""
        study = event.data
        if not study.series_instance_uids or all(each.scope is not Scope.STUDY for each in self._use_cases):
            return
        with stage(Stage.ROUTE):
            await self._on_study_completed(event)

    async def _on_study_completed(self, event: Event[StudyCompletedV1]) -> None:
        started = time.monotonic()
        study = event.data
        subject = RoutedSubject(
            institution=event.institution,
            scope=Scope.STUDY,
            study_instance_uid=study.study_instance_uid,
            series_instance_uids=study.series_instance_uids,
            revision=study.revision,
            accepted_at=study.accepted_at,
        )
        headers = await self._headers.read(event.institution, study.series_instance_uids)
        await self._route(subject, Subject.of_study(headers), study.source, started)

    async def _route(self, routed: RoutedSubject, subject: Subject, source: Source, started: float) -> None:
        routing = Routing(routed, decide(self._use_cases, subject, source))
        new = await self._routings.record(routing, self._messages(routing))
        # Also when it was recorded before: whoever did so may have died before it looked for wishes.
        wished = await self._pusher.push_wished(routed)
        if routing.waits:
            await self._routings.settle(routed)
        log.info(
            "subject.routed",
            scope=routed.scope.value,
            institution=routed.institution,
            study_instance_uid=routed.study_instance_uid,
            subject_uid=routed.uid,
            revision=routed.revision,
            use_cases=[each.use_case.use_case for each in routing.decision.matched],
            job_ids=[job.job_id for job in (*routing.jobs, *wished)],
            new=new,
            duration_s=round(time.monotonic() - started, 4),
        )

    def _messages(self, routing: Routing) -> list[Outgoing]:
        subject = routing.subject
        if subject.scope is Scope.SERIES and routing.decision.reason is not None:
            return [self._unrouted(subject, routing.decision.reason)]
        return [job_message(self._teller, job, subject.institution) for job in routing.jobs]

    def _unrouted(self, subject: RoutedSubject, reason: str) -> Outgoing:
        return self._teller.tell(
            SERIES_UNROUTED,
            SeriesUnroutedV1(
                study_instance_uid=subject.study_instance_uid,
                series_instance_uid=subject.uid,
                revision=subject.revision,
                reason=reason,
            ),
            subject=subject.uid,
            institution=subject.institution,
            event_id=identity.event_id(
                SERIES_UNROUTED.routing_key, subject.institution, subject.uid, str(subject.revision)
            ),
        )
