"""Adding an event to the trail one by one, and what a line of the log says of it: the log has every event, too."""

from __future__ import annotations

from typing import Any, cast

import structlog
from radbus_contracts.errors import RadbusError
from radbus_storage.documents import Documents
from radbus_storage.operator_records import AuditRecord

log = structlog.get_logger(__name__)


async def add_event(documents: Documents, record: AuditRecord) -> None:
    """Add an event; it is there when this returns.

    Raises:
        TransientError: It is not; the log has it.
    """
    try:
        await documents.audit.insert(cast("dict[str, Any]", record))
    except RadbusError as error:
        log_not_added(record, error)
        raise
    log_added(record)


def log_added(record: AuditRecord) -> None:
    """Say in the log what was recorded."""
    log.info("audit.recorded", **_line_of(record))


def log_not_added(record: AuditRecord, error: RadbusError) -> None:
    """Say in the log what could not be recorded: nothing else tells of it."""
    log.warning("audit.not_recorded", **_line_of(record), exc_info=error)


def _line_of(record: AuditRecord) -> dict[str, Any]:
    requestor, request = record["participants"][0], record["request"]
    return {
        "audit_id": record["_id"],
        "event_id": record["event"]["id"],
        "action": record["event"]["action"],
        "outcome": record["event"]["outcome"],
        "institution": record["institution"],
        "user": requestor["user"],
        "address": requestor["address"],
        "route": f"{request['method']} {request['route']}" if request else None,
        "status": request["status"] if request else None,
        "objects": [f"{each['kind']} {each['uid']}" for each in record["objects"]],
        "object_count": record["object_count"],
        "repeats": record["repeats"],
    }
