"""What follows from a decision: the jobs that are asked for, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from radbus_contracts import identity
from radbus_contracts.facts import JobRequestedV1, Scope, TaskSpec

from radbus_router.domain.decision import Decision, UseCaseDecision
from radbus_router.domain.use_cases import UseCaseTask


@dataclass(frozen=True, slots=True)
class RoutedSubject:
    """One revision of the series or study that a decision is about."""

    institution: str
    scope: Scope
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    revision: int
    accepted_at: datetime | None = None

    @property
    def uid(self) -> str:
        """The UID that jobs and records are known by."""
        return self.series_instance_uids[0] if self.scope is Scope.SERIES else self.study_instance_uid


@dataclass(frozen=True, slots=True)
class Routing:
    """A decision about a subject."""

    subject: RoutedSubject
    decision: Decision

    @property
    def jobs(self) -> tuple[JobRequestedV1, ...]:
        """The jobs to ask for now: one for each matching use case that computes by itself."""
        return tuple(self.job_of(each) for each in self.decision.matched if not each.on_request)

    @property
    def waits(self) -> bool:
        """Whether there is a job that is made only when somebody asks, or has asked."""
        return any(each.on_request for each in self.decision.matched)

    def job_of(self, decision: UseCaseDecision) -> JobRequestedV1:
        """Make the request for a matching use case's job; the same subject and revision always give the same id."""
        use_case, subject = decision.use_case, self.subject
        return JobRequestedV1(
            job_id=identity.job_id(
                institution=subject.institution,
                use_case=use_case.use_case,
                version=use_case.version,
                subject_uid=subject.uid,
                revision=subject.revision,
            ),
            use_case=use_case.use_case,
            use_case_version=use_case.version,
            title=use_case.title,
            scope=subject.scope,
            study_instance_uid=subject.study_instance_uid,
            series_instance_uids=subject.series_instance_uids,
            subject_uid=subject.uid,
            revision=subject.revision,
            priority=decision.priority,
            tasks=tuple(_spec(task, decision) for task in use_case.tasks),
            critical_when=use_case.triage.critical.expression if use_case.triage.critical else None,
            accepted_at=None if decision.on_request else subject.accepted_at,
            compare=use_case.compare.spec if use_case.compare else None,
        )


def _spec(task: UseCaseTask, decision: UseCaseDecision) -> TaskSpec:
    channels = {
        channel.name: channel.series_instance_uid
        for channel in decision.channels
        if channel.task_id == task.id and channel.series_instance_uid is not None
    }
    return TaskSpec(id=task.id, machine=task.machine, needs=task.needs, channels=channels)
