"""The results service with what is around it: other services' records, messages, and clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aio_pika
import requests
from aio_pika.abc import AbstractIncomingMessage
from radbus_contracts.envelope import Payload
from radbus_contracts.facts import (
    Dialect,
    JobCompletedV1,
    JobFailedV1,
    JobRequestedV1,
    JobRetriedV1,
    Priority,
    Scope,
    SeriesCompletedV1,
    SeriesUnroutedV1,
    Source,
    TaskOutcome,
    TaskSpec,
)
from radbus_contracts.identity import job_id, outcome_id, record_id
from radbus_contracts.topology import (
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_REQUESTED,
    JOB_RETRIED,
    SERIES_COMPLETED,
    SERIES_UNROUTED,
    Fact,
)
from radbus_runtime.events import Outgoing, Teller
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_testing.waiting import until

DEADLINE_S = 20
STUDY, SERIES, INSTANCE = "1.2", "1.2.3", "1.2.3.4"


@dataclass
class World:
    """What a test says to the service, and hears of it."""

    url: str
    documents: Documents
    objects: ObjectStore
    exchange: aio_pika.abc.AbstractExchange
    institution: str
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def job(self, subject: str = SERIES, *, revision: int = 1, use_case: str = "qct", run: int = 1) -> str:
        return job_id(
            institution=self.institution,
            use_case=use_case,
            version=1,
            subject_uid=subject,
            revision=revision,
            run=run,
        )

    def series_completed(self, series: str = SERIES, *, revision: int = 1) -> Outgoing:
        source = Source(dialect=Dialect.C_STORE)
        data = SeriesCompletedV1(
            study_instance_uid=STUDY,
            series_instance_uid=series,
            revision=revision,
            modality="CT",
            instance_count=40,
            source=source,
        )
        return self._tell(SERIES_COMPLETED, data)

    def unrouted(self, series: str = SERIES, *, reason: str = "qct (modality: no)") -> Outgoing:
        data = SeriesUnroutedV1(study_instance_uid=STUDY, series_instance_uid=series, revision=1, reason=reason)
        return self._tell(SERIES_UNROUTED, data)

    def requested(self, series: Sequence[str] = (SERIES,), **job: Any) -> Outgoing:
        data = JobRequestedV1(
            **self._job(series, **job),
            use_case_version=1,
            title="Chest CT",
            scope=Scope.SERIES if len(series) == 1 else Scope.STUDY,
            priority=Priority.ROUTINE,
            tasks=(TaskSpec(id="lungs", machine="lung-ct"),),
            run=job.get("run", 1),
        )
        return self._tell(JOB_REQUESTED, data)

    def completed(self, series: Sequence[str] = (SERIES,), **job: Any) -> Outgoing:
        fields = self._job(series, **job)
        lungs = TaskOutcome(task_id="lungs", outcome_id=outcome_id(fields["job_id"], "lungs", 1))
        data = JobCompletedV1(
            **fields, use_case_version=1, outcomes=(lungs,), critical_when="lungs.emphysema_index > 25.0"
        )
        return self._tell(JOB_COMPLETED, data)

    def failed(
        self, series: Sequence[str] = (SERIES,), *, cancelled: bool = False, retries: int = 0, **job: Any
    ) -> Outgoing:
        data = JobFailedV1(
            **self._job(series, **job),
            task_id="lungs",
            reason="the worker was lost 3 times",
            cancelled=cancelled,
            retries=retries,
        )
        return self._tell(JOB_FAILED, data)

    def retried(self, series: Sequence[str] = (SERIES,), *, retries: int = 1, **job: Any) -> Outgoing:
        return self._tell(JOB_RETRIED, JobRetriedV1(**self._job(series, **job), retries=retries))

    def archive_requested(self, **job: Any) -> Outgoing:
        data = JobRequestedV1(
            **job,
            use_case_version=1,
            title="PassThroughModel:1729",
            scope=Scope.ARCHIVE,
            priority=Priority.HIGH,
            tasks=(TaskSpec(id="segment", machine="pass-through"),),
            archive=f"{self.institution}/runs/{job['job_id']}/upload.zip",
        )
        return self._tell(JOB_REQUESTED, data)

    def archive_completed(self, **job: Any) -> Outgoing:
        outcome = TaskOutcome(task_id="segment", outcome_id=outcome_id(job["job_id"], "segment", 1))
        return self._tell(JOB_COMPLETED, JobCompletedV1(**job, use_case_version=1, outcomes=(outcome,)))

    def archive_failed(self, **job: Any) -> Outgoing:
        return self._tell(JOB_FAILED, JobFailedV1(**job, task_id="segment", reason="the worker was lost 3 times"))

    async def publish(self, *messages: Outgoing) -> None:
        for message in messages:
            body = aio_pika.Message(message.body.encode(), message_id=message.id)
            await self.exchange.publish(body, routing_key=message.routing_key)

    async def store_outcome(
        self,
        job: str,
        *,
        index: float = 3.0,
        usable: bool = True,
        summary: str = "Fine.",
        array: bytes = b"bytes",
        **more: Any,
    ) -> None:
        key = f"{self.institution}/derived/{job}/lungs/1"
        await self.objects.put(f"{key}/labels-lungs.npz", array, size_bytes=len(array))
        await self.objects.put(f"{key}/1.png", b"bytes", size_bytes=5)
        await self.documents[records.OUTCOMES].insert(
            {
                "_id": outcome_id(job, "lungs", 1),
                "institution": self.institution,
                "job_id": job,
                "task_id": "lungs",
                "attempt": 1,
                "succeeded": True,
                "machine": {"name": "lung-ct", "version": "1.0.0", "title": "Lung CT", "weights_sha256": None},
                "summary": summary,
                "usable": usable,
                "values": {"emphysema_index": index},
                "measurements": [{"name": "emphysema_index", "value": index, "unit": "%"}],
                "findings": [],
                "limits": ["Slices are thick."],
                "inputs": {"pixel_spacing": {STUDY: {SERIES: [0.5, 0.5]}}},
                "files": {"npz": [f"{key}/labels-lungs.npz"], "sc_png": [f"{key}/1.png"]},
                **more,
            }
        )

    async def store_job(self, job: str, *, requested_at: datetime, progress: float = 0) -> None:
        tasks = [{"state": "running", "progress": progress}, {"state": "waiting", "progress": 0}]
        await self.documents[records.JOBS].insert(
            {
                "_id": job,
                "institution": self.institution,
                "title": "Chest CT",
                "requested_at": requested_at,
                "tasks": tasks,
            }
        )

    async def store_series(
        self, series: str = SERIES, *, state: str = "complete", revision: int = 1, patient_id: str | None = None
    ) -> None:
        change = {
            "institution": self.institution,
            "study_instance_uid": STUDY,
            "series_instance_uid": series,
            "state": state,
            "revision": revision,
            "elements": {"StudyDate": "20260101"} | ({} if patient_id is None else {"PatientID": patient_id}),
        }
        where = {"_id": record_id(self.institution, series)}
        await self.documents[records.SERIES].update(where, {"$set": change}, upsert=True)

    async def store_instance(
        self, sop_instance_uid: str = INSTANCE, *, series: str = SERIES, data: bytes = b"an instance"
    ) -> None:
        key = f"{self.institution}/instances/{sop_instance_uid}"
        await self.objects.put(key, data, size_bytes=len(data))
        await self.documents[records.INSTANCES].insert(
            {
                "_id": record_id(self.institution, sop_instance_uid),
                "institution": self.institution,
                "study_instance_uid": STUDY,
                "series_instance_uid": series,
                "sop_instance_uid": sop_instance_uid,
                "object_key": key,
                "size_bytes": len(data),
                "sha256": sop_instance_uid,
            }
        )

    async def get(self, path: str, **options: Any) -> requests.Response:
        headers = options.pop("headers", self.headers)
        return await asyncio.to_thread(requests.get, f"{self.url}{path}", headers=headers, timeout=30, **options)

    async def answered(self, status: int, uid: str = SERIES, *, triage: str | None = None) -> dict[str, Any]:
        """Wait until a UID is answered with a status."""

        async def asked() -> dict[str, Any] | None:
            answer = await self.get(f"/results/{uid}")
            body = answer.json()
            right = answer.status_code == status and triage in (None, body.get("triage_status"))
            return body if right else None

        return await until(asked, timeout_s=DEADLINE_S, what="asked")

    async def told(self, job: str) -> list[tuple[str, dict[str, Any]]]:
        """Wait until something is told of a job's end; return all of it."""

        async def heard() -> list[tuple[str, dict[str, Any]]] | None:
            return [each for each in self.heard if each[1]["data"]["job_id"] == job] or None

        return await until(heard, timeout_s=DEADLINE_S, what="heard")

    async def listen(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        if event["institution"] == self.institution:
            self.heard.append((message.routing_key or "", event))

    def _job(self, series: Sequence[str], **job: Any) -> dict[str, Any]:
        subject = series[0] if len(series) == 1 else STUDY
        return {
            "job_id": self.job(subject, **job),
            "use_case": job.get("use_case", "qct"),
            "study_instance_uid": STUDY,
            "series_instance_uids": tuple(series),
            "subject_uid": subject,
            "revision": job.get("revision", 1),
        }

    def _tell(self, fact: Fact, data: Payload) -> Outgoing:
        return Teller("test").tell(fact, data, subject="test", institution=self.institution)
