"""The identity of derived objects: UIDs that come from the job, so that a re-run makes the same objects."""

from __future__ import annotations

from uuid import UUID, uuid5

# Ours, drawn once; UIDs below 2.25 are UUIDs as decimal numbers (PS3.5 B.2).
_NAMESPACE = UUID("6b1f7c52-3f0e-5a86-9a3c-0f4f5d1c7e21")


def derived_uid(job_id: str, output_name: str) -> str:
    """Return the SOPInstanceUID of a job's output, the same whenever it is asked for."""
    return f"2.25.{uuid5(_NAMESPACE, f'{job_id}/{output_name}').int}"


def series_uid(job_id: str, kind: str) -> str:
    """Return the SeriesInstanceUID that holds a job's outputs of one kind (`seg`, `sr`, ...)."""
    return derived_uid(job_id, f"series/{kind}")
