"""Inferences as clients read them: with URLs, signed at the moment of reading, in the place of object keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Literal, TypeVar

from pydantic import JsonValue
from radbus_contracts.facts import TriageStatus
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_runtime.documented import RefusalBody

from radbus_results.domain.case import Failed
from radbus_results.domain.inference import Inference
from radbus_results.domain.judgements import decisions_of, scores_of
from radbus_results.handlers.bodies import (
    ComparisonBody,
    DatedStudy,
    FailedJob,
    InferenceBody,
    ModelBody,
    NamedModel,
    OtherResult,
    PatientInferenceBody,
    ResultBody,
    ResultPart,
    SectionedReport,
    SeriesFile,
    StudyBody,
    Urls,
)

NOT_IMPLEMENTED = "not_implemented"
# The results API has several names for one thing: clients of each find it.
_KINDS = {"sc_png": ("sc_png", "sc_key_slices"), "pdf": ("reports", "pdf")}

T = TypeVar("T")
Sign = Callable[[str], str]
"""Sign a URL of an object for a time; may be called from any thread."""


async def rendered(render: Callable[[Sign], T], sign: Sign) -> T:
    """Make an answer off the event loop, with each key signed once: a page may have thousands."""
    return await asyncio.to_thread(render, cache(sign))


def result_body(
    inferences: Sequence[Inference], *, failed: Sequence[Failed], under_process: int, sign: Sign
) -> ResultBody:
    """Make the answer that shows the first of some results."""
    shown = inferences[0]
    return ResultBody(
        triage_status=_triage(shown.triage),
        usecase=shown.use_case if shown.usable else NOT_IMPLEMENTED,
        result=_result_part(shown, sign),
        results=[_other(each) for each in inferences],
        failed=[FailedJob(job=each.job_id, usecase=each.use_case, message=each.reason) for each in failed],
        under_process=under_process,
    )


def inference_body(inference: Inference, *, archives: Mapping[str, str], sign: Sign) -> InferenceBody:
    """Make the Inference object; `archives` are the object keys of series' archives."""
    study, files = inference.study_instance_uid, _series_files(inference, archives, sign)
    return InferenceBody(
        id=inference.id,
        job=inference.job_id,
        model=ModelBody(id=inference.model.id, name=inference.model.name, version=inference.model.version),
        study=StudyBody(study_instance_uid=study, date=inference.study_date, files=files),
        inputs=dict(inference.inputs),
        outputs=_outputs(inference, sign),
        usecase=inference.use_case,
        usecase_version=inference.version,
        title=inference.title,
        revision=inference.revision,
        triage_status=_triage(inference.triage),
        triage_reason=inference.triage_reason,
        usable=inference.usable,
        report=inference.summary,
        measurements=list(inference.measurements),
        findings=list(inference.findings),
        limits=list(inference.limits),
        comparisons=[ComparisonBody.model_validate(each) for each in inference.comparisons],
        files=_urls(inference.files, sign),
        completed_at=inference.completed_at,
        superseded_by=inference.superseded_by,
        erased_at=inference.erased_at,
        disclaimer=RESEARCH_USE_ONLY,
    )


def erased_body(inference: Inference) -> RefusalBody:
    """Say of an inference that its outputs are not kept any more."""
    since = f" on {inference.erased_at:%Y-%m-%d}" if inference.erased_at else ""
    return RefusalBody(message=f"The outputs of inference {inference.id} were erased{since}; they are kept no longer.")


def patient_inference_body(inference: Inference, *, archives: Mapping[str, str], sign: Sign) -> PatientInferenceBody:
    """Make the Inference object as the inference API's clients know it."""
    return PatientInferenceBody(
        model=NamedModel(name=inference.model.name, version=inference.model.version),
        study=DatedStudy(date=inference.study_date, files=_series_files(inference, archives, sign)),
        inputs=dict(inference.inputs),
        outputs=_outputs(inference, sign),
    )


def _result_part(inference: Inference, sign: Sign) -> ResultPart:
    return ResultPart(
        report=_report(inference),
        files=_urls(inference.files, sign),
        values={task: dict(values) for task, values in inference.values.items() if values},
        scores=scores_of(inference) or None,
        decisions=decisions_of(inference) or None,
        measurements=list(inference.measurements),
        findings=list(inference.findings),
        limits=list(inference.limits),
        comparisons=[ComparisonBody.model_validate(each) for each in inference.comparisons],
        disclaimer=RESEARCH_USE_ONLY,
        inference_id=inference.id,
        title=inference.title,
        model=inference.model.name,
        model_version=inference.model.version,
        study_instance_uid=inference.study_instance_uid,
        series_instance_uids=list(inference.series_instance_uids),
        completed_at=inference.completed_at,
    )


def _report(inference: Inference) -> str | SectionedReport:
    """Tell findings and impression apart where a machine does, as CR and DX use cases' clients expect it."""
    if not inference.impression:
        return inference.summary
    said = [(str(each.get("name", "")), str(each.get("text", ""))) for each in inference.findings]
    return SectionedReport(
        findings=" ".join(text for _, text in said), impression=inference.impression, findings_list=said
    )


def _other(inference: Inference) -> OtherResult:
    return OtherResult(
        inference_id=inference.id,
        usecase=inference.use_case,
        triage_status=_triage(inference.triage),
        usable=inference.usable,
        series_instance_uids=list(inference.series_instance_uids),
    )


def _triage(status: TriageStatus) -> Literal["Routine", "Critical"]:
    return "Critical" if status is TriageStatus.CRITICAL else "Routine"


def _urls(files: Mapping[str, Sequence[str]], sign: Sign) -> Urls:
    return {name: [sign(key) for key in keys] for kind, keys in files.items() for name in _KINDS.get(kind, (kind,))}


def _series_files(inference: Inference, archives: Mapping[str, str], sign: Sign) -> list[SeriesFile]:
    return [
        SeriesFile(
            study_instance_uid=inference.study_instance_uid,
            series_instance_uid=uid,
            url=sign(archives[uid]) if uid in archives else None,
        )
        for uid in inference.series_instance_uids
    ]


def _outputs(inference: Inference, sign: Sign) -> dict[str, JsonValue]:
    return {**inference.outputs, **_arrays(inference, sign)}


def _arrays(inference: Inference, sign: Sign) -> dict[str, JsonValue]:
    series = inference.series_of_arrays
    study = inference.study_instance_uid
    urls = {name: sign(key) for name, key in inference.arrays.items()}
    return {name: {study: {series: url} if series else url} for name, url in urls.items()}
