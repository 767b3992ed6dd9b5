"""Purges in the audit trail: who had what deleted (DICOM Study Deleted, DCM 110105, PS3.15 A.5.3.8)."""

from __future__ import annotations

from dataclasses import dataclass

from radbus_storage.documents import Documents

from radbus_runtime.audit.adding import add_event
from radbus_runtime.audit.codes import DELETE_STUDY, ObjectKind
from radbus_runtime.audit.events import event_of_operator
from radbus_runtime.retention.order import Kind, Plan

_SUBJECTS = {Kind.STUDY: ObjectKind.STUDY, Kind.SERIES: ObjectKind.SERIES, Kind.RUN: ObjectKind.RUN}


@dataclass(frozen=True, slots=True)
class PurgesInTrail:
    """Records each purge once it is complete; one that is resumed in between may be recorded twice."""

    documents: Documents
    source: str

    async def study_deleted(self, *, institution: str, user: str, plan: Plan) -> None:
        """Record a purge; `user` is the operator, or the policy.

        Raises:
            TransientError: It is not recorded.
        """
        order = plan.order
        objects = [(_SUBJECTS[order.kind], order.subject_uid), *((ObjectKind.SERIES, uid) for uid in plan.series)]
        named = [each for n, each in enumerate(objects) if each not in objects[:n]]
        record = event_of_operator(self.source, DELETE_STUDY, user=user, objects=named, institution=institution)
        await add_event(self.documents, record)
