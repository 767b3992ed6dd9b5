"""An inference and what it is made of: the shapes only, `inferring` makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue
from radbus_contracts.facts import TriageStatus

from radbus_results.domain.triage import Urgency

Json = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Model:
    """The machine that inferred; its id stays the same over its versions."""

    id: str
    name: str
    version: str
    title: str | None = None
    weights_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one task of the job came to."""

    task_id: str
    machine: Json
    summary: str = ""
    impression: str = ""
    usable: bool = True
    values: Json = field(default_factory=dict)
    measurements: Sequence[Json] = ()
    findings: Sequence[Json] = ()
    limits: Sequence[str] = ()
    comparison: Json | None = None
    inputs: Json = field(default_factory=dict)
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def judged(self) -> bool:
        """Say whether this task judged the images; one that only makes a report did not."""
        return bool(self.values or self.measurements or self.findings or self.inputs or not self.usable)


@dataclass(frozen=True, slots=True)
class Context:
    """What the fact of a completed job does not carry."""

    institution: str
    completed_at: datetime
    requested_at: datetime
    title: str | None = None
    study_date: str | None = None
    study_time: str | None = None
    patient_key: str | None = None
    waited_since: datetime | None = None  # accepted, or asked for; none where an operator let the job go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """One result; `arrays` are object keys of label arrays, `files` object keys by kind, `patient_key` a keyed hash."""

    id: str
    institution: str
    job_id: str
    model: Model
    models: tuple[Model, ...]
    use_case: str
    version: int
    title: str
    study_instance_uid: str
    study_date: str | None
    series_instance_uids: tuple[str, ...]
    subject_uid: str
    revision: int
    requested_at: datetime
    completed_at: datetime
    inputs: Json
    outputs: Json
    arrays: Mapping[str, str]
    values: Mapping[str, Json]
    summary: str
    usable: bool
    measurements: tuple[Json, ...]
    findings: tuple[Json, ...]
    limits: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    triage: TriageStatus
    triage_reason: str | None
    patient_key: str | None = None
    study_time: str | None = None
    comparisons: tuple[Json, ...] = ()  # with the patient's previous result, of each task that has compared
    superseded_by: str | None = None
    impression: str = ""  # of machines that tell it apart from the findings
    erased_at: datetime | None = None  # since when its outputs are not kept any more

    @property
    def urgency(self) -> Urgency:
        """Return its class on a worklist; a routine result has a reason only where it could not be judged."""
        if self.triage is TriageStatus.CRITICAL:
            return Urgency.CRITICAL
        return Urgency.ROUTINE if self.triage_reason is None else Urgency.NOT_JUDGED

    @property
    def series_of_arrays(self) -> str | None:
        """Return the series that arrays and values belong to, or None where they are about the whole study."""
        return None if self.subject_uid == self.study_instance_uid else self.subject_uid
