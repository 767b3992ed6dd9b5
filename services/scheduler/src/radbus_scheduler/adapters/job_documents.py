"""Jobs as MongoDB keeps them (JobRecord, TaskRecord), and back."""

from __future__ import annotations

from radbus_contracts.facts import CompareSpec, Priority, Scope
from radbus_storage.documents import Document

from radbus_scheduler.domain.job import Job, JobState, Task, TaskState


def job_document(job: Job) -> Document:
    """Return a job's record, without its outbox and its version."""
    return {
        "_id": job.id,
        "institution": job.institution,
        "use_case": job.use_case,
        "use_case_version": job.use_case_version,
        "title": job.title,
        "scope": job.scope.value,
        "study_instance_uid": job.study_instance_uid,
        "series_instance_uids": list(job.series_instance_uids),
        "subject_uid": job.subject_uid,
        "revision": job.revision,
        "priority": job.priority.value,
        "critical_when": job.critical_when,
        "archive": job.archive,
        "compare": job.compare.model_dump(mode="json") if job.compare else None,
        "requested_at": job.requested_at,
        "accepted_at": job.accepted_at,
        "traceparent": job.traceparent,
        **changing_fields(job),
    }


def changing_fields(job: Job) -> Document:
    """Return the part of a job's record that may change after it was made."""
    return {
        "state": job.state.value,
        "tasks": [_task_document(task) for task in job.tasks],
        "retries": job.retries,
        "finish_by": job.finish_by,
        "begun_at": job.begun_at,
        "finished_at": job.finished_at,
        "reason": job.reason,
    }


def job_of(document: Document) -> Job:
    """Read a job's record."""
    return Job(
        id=document["_id"],
        institution=document["institution"],
        use_case=document["use_case"],
        use_case_version=document["use_case_version"],
        title=document["title"],
        scope=Scope(document["scope"]),
        study_instance_uid=document["study_instance_uid"],
        series_instance_uids=tuple(document["series_instance_uids"]),
        subject_uid=document["subject_uid"],
        revision=document["revision"],
        priority=Priority(document["priority"]),
        critical_when=document["critical_when"],
        state=JobState(document["state"]),
        tasks=tuple(task_of(task) for task in document["tasks"]),
        requested_at=document["requested_at"],
        finish_by=document["finish_by"],
        begun_at=document.get("begun_at"),
        finished_at=document["finished_at"],
        reason=document["reason"],
        traceparent=document["traceparent"],
        archive=document.get("archive"),  # absent in the records of earlier versions, as are the channels of tasks
        compare=CompareSpec.model_validate(document["compare"]) if document.get("compare") else None,
        retries=document.get("retries", 0),
        accepted_at=document.get("accepted_at"),
    )


def task_of(document: Document) -> Task:
    """Read a task within a job's record."""
    known = {name: document[name] for name in Task.__slots__ if name in document}
    return Task(**{**known, "needs": tuple(document["needs"]), "state": TaskState(document["state"])})


def _task_document(task: Task) -> Document:
    document = {name: getattr(task, name) for name in Task.__slots__}
    return {**document, "needs": list(task.needs), "channels": dict(task.channels), "state": task.state.value}
