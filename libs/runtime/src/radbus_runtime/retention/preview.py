"""What a purge would erase, counted and not touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from radbus_storage import records
from radbus_storage.documents import Document, Documents

from radbus_runtime.retention.erasing import Objects
from radbus_runtime.retention.order import Kind, Plan, What
from radbus_runtime.retention.reading import below

_LISTED: Final = 100_000
_COUNTED: Final = (
    (records.SERIES, "series_instance_uid"),
    (records.CASES, "series_instance_uid"),
    (records.ROUTINGS, "subject_uid"),
    (records.JOBS, "series_instance_uids"),
    (records.INFERENCES, "series_instance_uids"),
    (records.DELIVERIES, "series_instance_uids"),
)


@dataclass(frozen=True, slots=True)
class Preview:
    """How much would go; the sums of bytes are of the stored objects."""

    series: int = 0
    instances: int = 0
    instances_bytes: int = 0
    jobs: int = 0
    outputs: int = 0
    outputs_bytes: int = 0
    records: int = 0

    def __add__(self, other: Preview) -> Preview:
        return Preview(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


async def preview(documents: Documents, objects: Objects, plan: Plan) -> Preview:
    """Count what a plan names."""
    order, own = plan.order, {"institution": plan.order.institution}
    instances, size_bytes = await _stored(documents, plan) if What.INPUTS in order.what else (0, 0)
    outputs = [
        entry for job in plan.jobs for entry in await objects.entries(plan.derived_prefix(job.job_id), limit=_LISTED)
    ]
    count = 0
    if What.RECORDS in order.what and order.kind is Kind.RUN:
        count += 1 + len(plan.jobs)
    elif What.RECORDS in order.what:
        of_study = {**own, "study_instance_uid": order.study_instance_uid}
        for name, field in _COUNTED:
            of_series = {field: order.subject_uid} if order.kind is Kind.SERIES else {}
            count += await documents[name].count(of_study | of_series)
    if What.RECORDS in order.what:
        for job in plan.jobs:
            count += await documents[records.OUTCOMES].count({**own, "_id": below(job.job_id)})
    return Preview(
        series=len(plan.series),
        instances=instances,
        instances_bytes=size_bytes,
        jobs=len(plan.jobs),
        outputs=len(outputs),
        outputs_bytes=sum(entry.size_bytes for entry in outputs),
        records=count,
    )


async def _stored(documents: Documents, plan: Plan) -> tuple[int, int]:
    where: Document = {
        "institution": plan.order.institution,
        "study_instance_uid": plan.order.study_instance_uid,
    }
    if not plan.whole_study:
        where["series_instance_uid"] = plan.order.subject_uid
    pipeline = [{"$match": where}, {"$group": {"_id": None, "count": {"$sum": 1}, "bytes": {"$sum": "$size_bytes"}}}]
    found = await documents[records.INSTANCES].aggregate(pipeline, limit=1)
    return (found[0]["count"], found[0]["bytes"]) if found else (0, 0)
