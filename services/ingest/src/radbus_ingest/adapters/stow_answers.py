"""The answer of STOW-RS (PS3.18 10.5.3), as DICOM JSON or XML with exactly its media type: clients compare it whole."""

from __future__ import annotations

import json
from typing import Any, Final
from xml.etree import ElementTree as ET

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from radbus_runtime.dialects import RETRY_AFTER_S

from radbus_ingest.domain.limits import BodyBusyError, BodyError, BusyError
from radbus_ingest.domain.outcomes import Receipt, Refused, SopReference, Stored

JSON_TYPE: Final = "application/dicom+json"
XML_TYPE: Final = "application/dicom+xml"
_NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_DOES_NOT_MATCH_SOP_CLASS: Final = 0xB007  # the one warning reason for what was stored as it came (PS3.18 I.2.2)

_KEYWORDS: Final = {
    "00081150": "ReferencedSOPClassUID",
    "00081155": "ReferencedSOPInstanceUID",
    "00081190": "RetrieveURL",
    "00081196": "WarningReason",
    "00081197": "FailureReason",
    "00081198": "FailedSOPSequence",
    "00081199": "ReferencedSOPSequence",
}

Payload = dict[str, dict[str, Any]]


class StowFault(BaseModel):
    """Why a body could not be read; the payload of PS3.18 has no place for that."""

    error: str


def stow_answer(receipt: Receipt, *, base_url: str, media_type: str) -> Response:
    """Answer 200 all stored, 202 some, 409 none, 503 when a store is away, else what the body's fault asks for."""
    if isinstance(receipt.fault, BodyError):
        return stow_fault(receipt.fault)
    payload = _payload(receipt, base_url)
    body = _xml(payload) if media_type == XML_TYPE else json.dumps(payload).encode()
    status = _status(receipt)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return Response(body, status_code=status, media_type=media_type, headers=headers)


def stow_fault(fault: BodyError) -> Response:
    """Answer a body that could not be read."""
    headers = {"Retry-After": str(fault.retry_after_s)} if isinstance(fault, BodyBusyError) else None
    return JSONResponse(StowFault(error=str(fault)).model_dump(), status_code=fault.status, headers=headers)


def stow_busy(busy: BusyError) -> Response:
    """Answer a request for which there is no room now."""
    headers = {"Retry-After": str(busy.retry_after_s)}
    return JSONResponse(StowFault(error=str(busy)).model_dump(), status_code=503, headers=headers)


def _status(receipt: Receipt) -> int:
    if receipt.fault is not None or (receipt.again and not receipt.stored):
        return 503
    if not receipt.outcomes:
        return 400
    if not receipt.stored:
        return 409
    return 202 if receipt.refused or any(stored.warnings for stored in receipt.stored) else 200


def _payload(receipt: Receipt, base_url: str) -> Payload:
    payload: Payload = {}
    studies = {stored.instance.study_instance_uid for stored in receipt.stored}
    if len(studies) == 1:
        payload["00081190"] = {"vr": "UR", "Value": [f"{base_url}/studies/{studies.pop()}"]}
    if receipt.refused:
        payload["00081198"] = {"vr": "SQ", "Value": [_failed(refused) for refused in receipt.refused]}
    if receipt.stored:
        payload["00081199"] = {"vr": "SQ", "Value": [_referenced(stored, base_url) for stored in receipt.stored]}
    return payload


def _referenced(stored: Stored, base_url: str) -> Payload:
    instance = stored.instance
    path = (
        f"/studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
        f"/instances/{instance.sop_instance_uid}"
    )
    item = {**_sop(instance.sop), "00081190": {"vr": "UR", "Value": [base_url + path]}}
    if stored.warnings:
        item["00081196"] = {"vr": "US", "Value": [_DOES_NOT_MATCH_SOP_CLASS]}
    return item


def _failed(refused: Refused) -> Payload:
    return {**_sop(refused.sop), "00081197": {"vr": "US", "Value": [refused.failure_reason]}}


def _sop(sop: SopReference | None) -> Payload:
    return {"00081150": _uid(sop.sop_class_uid if sop else ""), "00081155": _uid(sop.sop_instance_uid if sop else "")}


def _uid(uid: str) -> dict[str, Any]:
    """Write what could not be read as present and empty, so that clients that ask find no value."""
    return {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"}


def _xml(payload: Payload) -> bytes:
    """Write the Native DICOM Model (PS3.19 A.1)."""
    root = ET.Element("NativeDicomModel", {"xmlns": _NAMESPACE, "xml:space": "preserve"})
    _add_attributes(root, payload)
    body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return body


def _add_attributes(parent: ET.Element, payload: Payload) -> None:
    for tag, attribute in payload.items():
        described = {"tag": tag, "vr": attribute["vr"], "keyword": _KEYWORDS[tag]}
        element = ET.SubElement(parent, "DicomAttribute", described)
        for number, value in enumerate(attribute.get("Value", []), 1):
            if isinstance(value, dict):
                _add_attributes(ET.SubElement(element, "Item", {"number": str(number)}), value)
            else:
                ET.SubElement(element, "Value", {"number": str(number)}).text = str(value)
