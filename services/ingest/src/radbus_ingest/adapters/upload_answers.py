"""The answer of the results API's dialect to an upload (CONTRACTS: `POST /upload`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from radbus_runtime.dialects import RETRY_AFTER_S

from radbus_ingest.domain.limits import BodyBusyError, BodyError, BusyError
from radbus_ingest.domain.outcomes import Outcome, Receipt, Refused, Stored

_NONE = "No DICOM files were uploaded!"


class PartAnswer(BaseModel):
    """What became of one part."""

    message: str
    created: bool = Field(description="False also for an instance that was there already with the same bytes.")
    license_expired: bool = False
    metadata: dict[str, Any] = Field(
        description="UIDs, Modality, Rows, Columns, and warnings; nothing that identifies."
    )


class SeriesAnswer(BaseModel):
    """How many instances of a series are stored now."""

    model_config = ConfigDict(populate_by_name=True)

    series_instance_uid: str = Field(serialization_alias="SeriesInstanceUID")
    number_of_series_related_instances: int = Field(serialization_alias="NumberOfSeriesRelatedInstances")


class UploadAnswer(BaseModel):
    """At least one instance is stored."""

    message: str = "Success"
    status: str = "success"
    messages: dict[str, PartAnswer] = Field(description="By field name, or by entry name for those of a zip.")
    series_instance_uids: list[str]
    detailed_info: list[SeriesAnswer]


class UploadRefusal(BaseModel):
    """Nothing is stored, or not all that could be; `messages` says of each part what became of it."""

    message: str
    status: str = "failure"
    messages: dict[str, PartAnswer] = Field(default_factory=dict)


def upload_answer(receipt: Receipt, instance_counts: Mapping[str, int]) -> JSONResponse:
    """Answer 200 when all is taken that can be, 503 when a store went away, else 400 or the status of the fault."""
    messages = _messages(receipt)
    if receipt.fault is not None:
        status = receipt.fault.status if isinstance(receipt.fault, BodyError) else 503
        text = str(receipt.fault) if isinstance(receipt.fault, BodyError) else "There is no room to store this now."
        wait_s = receipt.fault.retry_after_s if isinstance(receipt.fault, BodyBusyError) else RETRY_AFTER_S
        return _refusal(UploadRefusal(message=text, messages=messages), status, retry_after_s=wait_s)
    if receipt.again:
        text = "A store is away; please try again."
        return _refusal(UploadRefusal(message=text, messages=messages), 503)
    if not receipt.stored:
        return _refusal(UploadRefusal(message=_NONE, messages=messages), 400)
    answer = UploadAnswer(
        messages=messages,
        series_instance_uids=list(instance_counts),
        detailed_info=[
            SeriesAnswer(series_instance_uid=uid, number_of_series_related_instances=count)
            for uid, count in instance_counts.items()
        ],
    )
    return JSONResponse(answer.model_dump(by_alias=True))


def upload_fault(fault: BodyError) -> JSONResponse:
    """Answer a request whose body was not even begun."""
    return _refusal(UploadRefusal(message=str(fault)), fault.status)


def upload_busy(busy: BusyError) -> JSONResponse:
    """Answer a request for which there is no room now."""
    return _refusal(UploadRefusal(message=f"{busy}; please try again"), 503, retry_after_s=busy.retry_after_s)


def _refusal(refusal: UploadRefusal, status: int, *, retry_after_s: int = RETRY_AFTER_S) -> JSONResponse:
    headers = {"Retry-After": str(retry_after_s)} if status == 503 else None
    return JSONResponse(refusal.model_dump(), status_code=status, headers=headers)


def _messages(receipt: Receipt) -> dict[str, PartAnswer]:
    """Key the outcomes by their names; clients that call every field the same get numbers behind it."""
    messages: dict[str, PartAnswer] = {}
    repeated: dict[str, int] = {}
    for outcome in receipt.outcomes:
        name = outcome.name
        while name in messages:
            repeated[outcome.name] = repeated.get(outcome.name, 0) + 1
            name = f"{outcome.name}_{repeated[outcome.name]}"
        messages[name] = _part_answer(outcome)
    return messages


def _part_answer(outcome: Outcome) -> PartAnswer:
    match outcome:
        case Stored(created=True):
            return PartAnswer(message="DICOM registered successfully.", created=True, metadata=_metadata(outcome))
        case Stored():
            return PartAnswer(message="DICOM was registered already.", created=False, metadata=_metadata(outcome))
        case Refused():
            return PartAnswer(message=f"Not registered: {outcome.text}.", created=False, metadata=_metadata(outcome))


def _metadata(outcome: Outcome) -> dict[str, Any]:
    """Tell what was recorded: nothing of what was refused, by which clients know it from a duplicate."""
    if isinstance(outcome, Refused):
        return {}
    instance = outcome.instance
    found: dict[str, Any] = {
        "SOPInstanceUID": instance.sop_instance_uid,
        "SeriesInstanceUID": instance.series_instance_uid,
        "StudyInstanceUID": instance.study_instance_uid,
        "Modality": instance.modality,
        "SOPClassUID": instance.sop_class_uid,
        "TransferSyntaxUID": instance.transfer_syntax_uid,
        "Rows": instance.rows,
        "Columns": instance.columns,
    }
    if outcome.warnings:
        found["warnings"] = list(outcome.warnings)
    return found
