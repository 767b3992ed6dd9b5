"""Ids that come out the same whenever the same thing is asked for."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

RUN_USE_CASE: Final = "inner-eye"
"""What stands in the place of a use case for every run of the inferencing API."""
_NAMESPACE = UUID("6f1a6e3c-0c6b-5d55-9d3c-3a51f7a3c0d1")


def job_id(*, institution: str, use_case: str, version: int, subject_uid: str, revision: int, run: int = 1) -> str:
    """Make the id of the one job for this use case, subject and revision; `run` counts explicit re-runs."""
    parts = [institution, use_case, str(version), subject_uid, str(revision)]
    if run > 1:
        parts.append(str(run))
    return str(uuid5(_NAMESPACE, "/".join(("job", *parts))))


def inference_id(job: str) -> str:
    """Make the id of the inference that a job ends in."""
    return str(uuid5(_NAMESPACE, f"inference/{job}"))


def event_id(*parts: str) -> str:
    """Make the id of a fact that may be told twice."""
    return str(uuid5(_NAMESPACE, "/".join(("event", *parts))))


def record_id(institution: str, uid: str) -> str:
    """Make the `_id` of a record about a UID: institutions never share one."""
    return f"{institution}/{uid}"


def outcome_id(job: str, task_id: str, attempt: int) -> str:
    """Make the id of one attempt's outcome."""
    return f"{job}/{task_id}/{attempt}"


def model_id(use_case: str, machine: str) -> str:
    """Make the id by which readers and their rights know a machine within a use case, whatever its version."""
    return str(uuid5(_NAMESPACE, f"model/{use_case}/{machine}"))
