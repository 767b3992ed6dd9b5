"""Audit events as the messages that a site's audit record repository takes (PS3.15 A.5.1)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from xml.etree import ElementTree as ET

from radbus_storage.operator_records import AuditObject, AuditParticipant, AuditRecord

from radbus_runtime.audit.codes import MEANINGS, ObjectKind

_APPLICATION_SERVER: Final = "4"
_MACHINE_NAME, _IP_ADDRESS = "1", "2"
_PERSON, _SYSTEM_OBJECT = "1", "2"
_REPORT, _JOB, _PATIENT, _SECURITY_USER, _SECURITY_RESOURCE = "3", "20", "1", "11", "13"
_DATA_DESTINATION, _DATA_REPOSITORY = "16", "17"
_STUDY_UID: Final = ("110180", "DCM", "Study Instance UID")
# What is no study has no code of the standard's own: these are radbus's.
_OURS: Final = "99RADBUS"
_OF_KINDS: Final = {
    ObjectKind.PATIENT: (_PERSON, _PATIENT),
    ObjectKind.JOB: (_SYSTEM_OBJECT, _JOB),
    ObjectKind.RUN: (_SYSTEM_OBJECT, _JOB),
    ObjectKind.MESSAGE: (_SYSTEM_OBJECT, _JOB),
    ObjectKind.TOKEN: (_SYSTEM_OBJECT, _SECURITY_USER),
    ObjectKind.USER: (_PERSON, _SECURITY_USER),
    ObjectKind.WEBHOOK: (_SYSTEM_OBJECT, _DATA_DESTINATION),
    ObjectKind.TRAIL: (_SYSTEM_OBJECT, _SECURITY_RESOURCE),
    ObjectKind.BACKUP: (_SYSTEM_OBJECT, _DATA_REPOSITORY),
}


def message_of(record: AuditRecord) -> str:
    """Write an event as an AuditMessage."""
    message = ET.Element("AuditMessage")
    _identify(message, record)
    for participant in record["participants"]:
        _add_participant(message, participant)
    source = {"AuditSourceID": f"{record['source']['service']}@{record['source']['replica']}"}
    if record["institution"]:
        source = {"AuditEnterpriseSiteID": record["institution"], **source}
    identified = ET.SubElement(message, "AuditSourceIdentification", source)
    ET.SubElement(identified, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    for each in record["objects"]:
        _add_object(message, each)
    return ET.tostring(message, encoding="unicode")


def _identify(message: ET.Element, record: AuditRecord) -> None:
    event, request = record["event"], record["request"]
    at = record["at"].isoformat(timespec="milliseconds")
    found = ET.SubElement(
        message,
        "EventIdentification",
        {
            "EventActionCode": event["action"],
            "EventDateTime": at,
            "EventOutcomeIndicator": str(event["outcome"]),
        },
    )
    ET.SubElement(found, "EventID", _coded(event["id"]))
    if event["type"]:
        ET.SubElement(found, "EventTypeCode", _coded(event["type"]))
    told = [f"{request['method']} {request['route']}: {request['status']}"] if request else []
    told += [f"{record['repeats']} alike"] if record["repeats"] > 1 else []
    unnamed = record["object_count"] - len(record["objects"])
    told += [f"{unnamed} objects more"] if unnamed > 0 else []
    if told:
        ET.SubElement(found, "EventOutcomeDescription").text = "; ".join(told)


def _add_participant(message: ET.Element, participant: AuditParticipant) -> None:
    said = {"UserID": participant["user"], "UserIsRequestor": str(participant["is_requestor"]).lower()}
    if participant["alternative_user"]:
        said["AlternativeUserID"] = participant["alternative_user"]
    address = participant["address"]
    if address:
        said["NetworkAccessPointID"] = address
        said["NetworkAccessPointTypeCode"] = _IP_ADDRESS if _is_ip_address(address) else _MACHINE_NAME
    element = ET.SubElement(message, "ActiveParticipant", said)
    ET.SubElement(element, "RoleIDCode", _coded(participant["role"]))


def _add_object(message: ET.Element, each: AuditObject) -> None:
    kind = ObjectKind(each["kind"])
    type_code, role = _OF_KINDS.get(kind, (_SYSTEM_OBJECT, _REPORT))
    element = ET.SubElement(
        message,
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": each["uid"],
            "ParticipantObjectTypeCode": type_code,
            "ParticipantObjectTypeCodeRole": role,
        },
    )
    code, scheme, meaning = _STUDY_UID if kind is ObjectKind.STUDY else (kind.value, _OURS, kind.value)
    ET.SubElement(
        element,
        "ParticipantObjectIDTypeCode",
        {"csd-code": code, "codeSystemName": scheme, "originalText": meaning},
    )
    ET.SubElement(element, "ParticipantObjectName").text = kind.value  # required, and nobody's name


def _is_ip_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _coded(code: str) -> dict[str, str]:
    return {"csd-code": code, "codeSystemName": "DCM", "originalText": MEANINGS[code]}
