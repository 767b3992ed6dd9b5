"""Making an inference: what the outcomes of a job's tasks come to, as one record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from pydantic import JsonValue
from radbus_contracts import identity
from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import JobCompletedV1

from radbus_results.domain.inference import Context, Inference, Json, Model, Outcome
from radbus_results.domain.judgements import flat
from radbus_results.domain.triage import triage


class NoOutcomeError(PermanentError):
    """A completed job names no outcome: there is nothing to make a result of."""


def infer_from(job: JobCompletedV1, outcomes: Sequence[Outcome], context: Context) -> Inference:
    """Make the record of a completed job from its tasks' outcomes, which are in the order of the use case.

    Raises:
        NoOutcomeError: The job has none.
    """
    if not outcomes:
        raise NoOutcomeError(f"job {job.job_id}: expected at least one outcome")
    judging = [each for each in outcomes if each.judged]
    usable = [each for each in judging if each.usable]
    # A value from images that cannot be judged is no ground for an alarm.
    values = {each.task_id: each.values if each.usable else {} for each in outcomes}
    urgency = triage(job.critical_when, values)
    models = tuple(_model(job.use_case, each) for each in outcomes)
    return Inference(
        id=identity.inference_id(job.job_id),
        institution=context.institution,
        job_id=job.job_id,
        model=_model(job.use_case, (judging or list(outcomes))[0]),
        models=tuple(dict.fromkeys(models)),
        use_case=job.use_case,
        version=job.use_case_version,
        title=context.title or job.use_case,
        study_instance_uid=job.study_instance_uid,
        study_date=context.study_date,
        study_time=context.study_time,
        patient_key=context.patient_key,
        series_instance_uids=job.series_instance_uids,
        subject_uid=job.subject_uid,
        revision=job.revision,
        requested_at=context.requested_at,
        completed_at=context.completed_at,
        inputs=_merged(each.inputs for each in outcomes),
        outputs=_outputs(job, usable),
        arrays=_arrays(outcomes),
        values=values,
        summary=" ".join([_summary(usable or judging or outcomes), *_compared(usable)]),
        impression=_joined(each.impression for each in usable),
        usable=bool(usable) or not judging,
        measurements=tuple(each for outcome in usable for each in outcome.measurements),
        findings=tuple(each for outcome in usable for each in outcome.findings),
        comparisons=tuple(each.comparison for each in usable if each.comparison),
        limits=_limits(outcomes, all_unusable=not usable),
        files=_files(outcomes),
        triage=urgency.status,
        triage_reason=urgency.reason,
    )


def _model(use_case: str, outcome: Outcome) -> Model:
    machine = outcome.machine
    name = str(machine.get("name", outcome.task_id))
    return Model(
        id=identity.model_id(use_case, name),
        name=name,
        version=str(machine.get("version", "")),
        title=_text(machine.get("title")),
        weights_sha256=_text(machine.get("weights_sha256")),
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _summary(outcomes: Iterable[Outcome]) -> str:
    return _joined(each.summary for each in outcomes)


def _joined(texts: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(text.strip() for text in texts if text.strip()))


def _compared(outcomes: Iterable[Outcome]) -> list[str]:
    """Say in words what has changed, for those who read nothing but the report."""
    comparisons = [each.comparison for each in outcomes if each.comparison and each.comparison.get("previous")]
    return [str(each["summary"]) for each in comparisons]


def _limits(outcomes: Iterable[Outcome], *, all_unusable: bool) -> tuple[str, ...]:
    said: list[str] = []
    for each in outcomes:
        said.extend(each.limits)
        if not each.usable and not all_unusable and each.summary:
            said.append(each.summary)
    return tuple(dict.fromkeys(said))


def _files(outcomes: Iterable[Outcome]) -> dict[str, tuple[str, ...]]:
    files: dict[str, tuple[str, ...]] = {}
    for each in outcomes:
        for kind, keys in each.files.items():
            files[kind] = (*files.get(kind, ()), *keys)
    return {kind: tuple(dict.fromkeys(keys)) for kind, keys in files.items() if keys}


def _outputs(job: JobCompletedV1, outcomes: Sequence[Outcome]) -> dict[str, JsonValue]:
    """Put each value at its level: of the study, or of the one series that the use case looks at."""
    outputs: dict[str, JsonValue] = {}
    for name, value in flat({each.task_id: each.values for each in outcomes}):
        at_level = value if job.subject_uid == job.study_instance_uid else {job.subject_uid: value}
        outputs[name] = {job.study_instance_uid: at_level}
    return outputs


def _arrays(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Name each label array as an output: `.../labels-lungs.npz` is `lungs_segmentation_array`."""
    arrays: dict[str, str] = {}
    for each in outcomes:
        for key in each.files.get("npz", ()):
            stem = PurePosixPath(key).stem.removeprefix("labels").removesuffix("segmentation").strip("_-")
            name = f"{stem.replace('-', '_') or each.task_id}_segmentation_array"
            arrays[name if name not in arrays else f"{each.task_id}_{name}"] = key
    return arrays


def _merged(parts: Iterable[Json]) -> dict[str, JsonValue]:
    merged: dict[str, JsonValue] = {}
    for part in parts:
        for name, value in part.items():
            there = merged.get(name)
            merged[name] = _merged((there, value)) if isinstance(there, dict) and isinstance(value, dict) else value
    return merged
