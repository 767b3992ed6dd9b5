"""The codes that audit events are made of (PS3.15 A.5, PS3.16 CID 400, 401, 402 and 403)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


class EventId(StrEnum):
    """What kind of event it is; codes of DCM (CID 400)."""

    APPLICATION_ACTIVITY = "110100"
    AUDIT_LOG_USED = "110101"
    INSTANCES_ACCESSED = "110103"
    INSTANCES_TRANSFERRED = "110104"
    STUDY_DELETED = "110105"
    EXPORT = "110106"
    IMPORT = "110107"
    PROCEDURE_RECORD = "110111"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"


class EventType(StrEnum):
    """What it is more closely; codes of DCM (CID 401)."""

    APPLICATION_START = "110120"
    APPLICATION_STOP = "110121"
    LOGIN = "110122"
    USER_SECURITY_ATTRIBUTES_CHANGED = "110137"


class Role(StrEnum):
    """What a participant is in it; codes of DCM (CID 402)."""

    APPLICATION = "110150"
    DESTINATION = "110152"
    SOURCE = "110153"


class Action(StrEnum):
    """What was done (EventActionCode)."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(IntEnum):
    """How it ended (EventOutcomeIndicator)."""

    SUCCESS = 0
    MINOR_FAILURE = 4  # the same caller may do it better: not found, not of its form, a first wrong password
    SERIOUS_FAILURE = 8  # not allowed, or tried in vain again and again
    MAJOR_FAILURE = 12  # radbus could not do it


class ObjectKind(StrEnum):
    """What an event was about."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"
    UID = "uid"  # as it was asked for: of any of these, or of nothing
    JOB = "job"
    INFERENCE = "inference"
    RUN = "run"
    PATIENT = "patient"  # a keyed hash, never a patient's id
    MESSAGE = "message"
    TOKEN = "token"  # noqa: S105 - a kind, and of a token only its id
    USER = "user"
    WEBHOOK = "webhook"
    TRAIL = "trail"
    BACKUP = "backup"


MEANINGS: Final[dict[str, str]] = {
    EventId.APPLICATION_ACTIVITY: "Application Activity",
    EventId.AUDIT_LOG_USED: "Audit Log Used",
    EventId.INSTANCES_ACCESSED: "DICOM Instances Accessed",
    EventId.INSTANCES_TRANSFERRED: "DICOM Instances Transferred",
    EventId.STUDY_DELETED: "DICOM Study Deleted",
    EventId.EXPORT: "Export",
    EventId.IMPORT: "Import",
    EventId.PROCEDURE_RECORD: "Procedure Record",
    EventId.QUERY: "Query",
    EventId.SECURITY_ALERT: "Security Alert",
    EventId.USER_AUTHENTICATION: "User Authentication",
    EventType.APPLICATION_START: "Application Start",
    EventType.APPLICATION_STOP: "Application Stop",
    EventType.LOGIN: "Login",
    EventType.USER_SECURITY_ATTRIBUTES_CHANGED: "User Security Attributes Changed",
    Role.APPLICATION: "Application",
    Role.DESTINATION: "Destination Role ID",
    Role.SOURCE: "Source Role ID",
}
"""The code meanings, as the standard spells them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a route or a command does to patient data."""

    event: EventId
    action: Action
    type: EventType | None = None


STORE: Final = Kind(EventId.INSTANCES_TRANSFERRED, Action.CREATE)
IMPORT: Final = Kind(EventId.IMPORT, Action.CREATE)
READ: Final = Kind(EventId.INSTANCES_ACCESSED, Action.READ)
EXPORT: Final = Kind(EventId.EXPORT, Action.READ)
QUERY: Final = Kind(EventId.QUERY, Action.EXECUTE)
DELETE_STUDY: Final = Kind(EventId.STUDY_DELETED, Action.DELETE)
COMPUTE: Final = Kind(EventId.PROCEDURE_RECORD, Action.CREATE)
READ_JOB: Final = Kind(EventId.PROCEDURE_RECORD, Action.READ)
CHANGE_JOB: Final = Kind(EventId.PROCEDURE_RECORD, Action.UPDATE)
DELETE_JOB: Final = Kind(EventId.PROCEDURE_RECORD, Action.DELETE)
LOOK_UP: Final = Kind(EventId.APPLICATION_ACTIVITY, Action.READ)  # what is known of no patient: models, use cases
EXPLAIN: Final = Kind(EventId.APPLICATION_ACTIVITY, Action.EXECUTE)
AUTHENTICATE: Final = Kind(EventId.USER_AUTHENTICATION, Action.EXECUTE, EventType.LOGIN)
CHANGE_RIGHTS: Final = Kind(EventId.SECURITY_ALERT, Action.EXECUTE, EventType.USER_SECURITY_ATTRIBUTES_CHANGED)
READ_TRAIL: Final = Kind(EventId.AUDIT_LOG_USED, Action.READ)
START: Final = Kind(EventId.APPLICATION_ACTIVITY, Action.EXECUTE, EventType.APPLICATION_START)
STOP: Final = Kind(EventId.APPLICATION_ACTIVITY, Action.EXECUTE, EventType.APPLICATION_STOP)
