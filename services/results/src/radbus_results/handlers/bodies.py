"""The bodies that clients of the results API and of the inference API read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from radbus_runtime.documented import RefusalBody

Urls = dict[str, list[str]]


class PreviousBody(BaseModel):
    """The earlier result of the same patient that was compared with."""

    inference_id: str
    study_instance_uid: str
    series_instance_uids: list[str]
    study_date: str = Field(description="YYYYMMDD.")
    days_between: int = Field(ge=0)
    machine: str
    machine_version: str


class ChangeBody(BaseModel):
    """One measurement now and then."""

    name: str
    title: str
    unit: str = Field(description="UCUM.")
    value: float
    previous: float
    absolute: float = Field(description="In the unit; percentage points where that is %.")
    percent: float | None = Field(description="Of the previous value; null where that says nothing.")


class ComparisonBody(BaseModel):
    """The change since the same patient's previous result, where the use case asks for it."""

    previous: PreviousBody | None = Field(description="Null where there was nothing to compare with.")
    changes: list[ChangeBody]
    remarks: list[str] = Field(description="Why nothing was compared, or what else a change may come from.")
    summary: str


class SectionedReport(BaseModel):
    """A report whose findings and impression are told apart."""

    findings: str
    impression: str
    findings_list: list[tuple[str, str]] = Field(description="Name and sentence of each finding.")


class ResultPart(BaseModel):
    """What was found, and the files of it."""

    report: str | SectionedReport = Field(
        description="The finding in words, in sections where the machine gives an impression; of images that cannot be "
        "judged, why not."
    )
    files: Urls = Field(description="Pre-signed URLs by kind; a kind with none is absent.")
    values: dict[str, dict[str, JsonValue]] = Field(description="By task id, then by name.")
    scores: dict[str, float] | None = Field(default=None, description="Numbers by name; absent where there are none.")
    decisions: dict[str, bool] | None = Field(
        default=None, description="What was judged present or absent, by name; absent where there is nothing."
    )
    measurements: list[Mapping[str, JsonValue]]
    findings: list[Mapping[str, JsonValue]]
    limits: list[str] = Field(description="What could not be judged, in sentences.")
    comparisons: list[ComparisonBody] = Field(
        description="With the patient's previous result, one of each machine; empty where the use case asks for none."
    )
    disclaimer: str
    inference_id: str
    title: str
    model: str
    model_version: str
    study_instance_uid: str
    series_instance_uids: list[str]
    completed_at: datetime


class OtherResult(BaseModel):
    """One of several current results of what was asked for; the one shown is among them, first."""

    inference_id: str
    usecase: str
    triage_status: Literal["Routine", "Critical"]
    usable: bool
    series_instance_uids: list[str]


class FailedJob(BaseModel):
    """A job of what was asked for that ended without a result."""

    job: str
    usecase: str
    message: str


class ResultBody(BaseModel):
    """200 and 206 of `GET /results/{uid}`."""

    success: bool = True
    message: str = "Results retrieved successfully!"
    triage_status: Literal["Routine", "Critical"]
    usecase: str = Field(description="The use case; `not_implemented` with 206.")
    result: ResultPart
    report: list[JsonValue] = Field(default_factory=list)
    results: list[OtherResult]
    failed: list[FailedJob]
    under_process: int = Field(description="Use cases not finished yet; above 0 only beside a critical result.")


class UnderProcessBody(BaseModel):
    """202: uploaded, not finished."""

    success: bool = False
    message: str
    progress: float = Field(ge=0, le=1)


class NotImplementedBody(BaseModel):
    """400: no use case matches."""

    success: bool = False
    message: str = "Use case not implemented."
    usecase: Literal["not_implemented"] = "not_implemented"
    debug_info: dict[str, str]
    result: dict[str, JsonValue] = Field(default_factory=dict)


class FailedBody(RefusalBody):
    """500: the job failed for good."""

    job: str


class NamedModel(BaseModel):
    """The machine that inferred."""

    name: str
    version: str


class ModelBody(NamedModel):
    """The same, with the id that it keeps over its versions."""

    id: str


class SeriesFile(BaseModel):
    """One series that the inference is about, and a zip of its instances."""

    study_instance_uid: str
    series_instance_uid: str
    url: str | None = Field(description="Pre-signed; null where it was not asked for or cannot be made.")


class DatedStudy(BaseModel):
    """The study that the inference is about."""

    date: str | None
    files: list[SeriesFile]


class StudyBody(DatedStudy):
    """The same, with its UID."""

    study_instance_uid: str


class PatientInferenceBody(BaseModel):
    """The Inference object, with nothing beside what the inference API names."""

    model: NamedModel
    study: DatedStudy
    inputs: dict[str, JsonValue] = Field(description="By name, at the level at which a value holds.")
    outputs: dict[str, JsonValue] = Field(
        description="By name; a `*_segmentation_array` is a pre-signed URL of a .npz."
    )


class InferenceBody(PatientInferenceBody):
    """The Inference object, and all else that is recorded of it."""

    model: ModelBody
    study: StudyBody
    id: str
    job: str
    usecase: str
    usecase_version: int
    title: str
    revision: int
    triage_status: Literal["Routine", "Critical"]
    triage_reason: str | None
    usable: bool
    report: str
    measurements: list[Mapping[str, JsonValue]]
    findings: list[Mapping[str, JsonValue]]
    limits: list[str]
    comparisons: list[ComparisonBody] = Field(
        description="With the patient's previous result, one of each machine; empty where the use case asks for none."
    )
    files: Urls
    completed_at: datetime
    superseded_by: str | None
    erased_at: datetime | None = Field(description="Since when its outputs are not kept any more; null while they are.")
    disclaimer: str


class SegmentationBody(BaseModel):
    """How a run stands, in the words of the inferencing API."""

    model_config = ConfigDict(serialize_by_alias=True)

    model_id: str = Field(serialization_alias="modelId")
    segmentation_id: str = Field(serialization_alias="segmentationId")
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    progress: int = Field(ge=0, le=100, description="In percent.")
    message: str
