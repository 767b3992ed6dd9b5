"""Audit events, as they are recorded: made in one place, so that nothing of a patient gets into them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Final

from radbus_storage.operator_records import AuditObject, AuditParticipant, AuditRecord

from radbus_runtime.audit.access import Access
from radbus_runtime.audit.codes import AUTHENTICATE, EventId, Kind, ObjectKind, Outcome, Role
from radbus_runtime.auth.principal import Principal

UNKNOWN: Final = "unknown"
OBJECT_LIMIT: Final = 100
_CREDENTIAL_CHARACTERS: Final = 64  # of a token these are its digest's first, of a user its name
_TOKEN_ID_CHARACTERS: Final = 12
_ROLES: Final = {
    EventId.INSTANCES_TRANSFERRED: (Role.SOURCE, Role.DESTINATION),
    EventId.IMPORT: (Role.SOURCE, Role.DESTINATION),
    EventId.EXPORT: (Role.DESTINATION, Role.SOURCE),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, by its route and never by its address: that may hold a patient's id."""

    method: str
    route: str
    status: int
    address: str | None


@cache
def replica() -> str:
    """Name this process among those of its service."""
    return f"{socket.gethostname()}:{os.getpid()}"


def event_of_access(service: str, access: Access, asked: Asked) -> AuditRecord:
    """Make the event of a request to a route that asks for credentials."""
    kind, who = access.kind or AUTHENTICATE, access.principal
    if who is None:
        kind = AUTHENTICATE  # that failed, whatever was to come after it
    outcome = outcome_of(asked.status) if access.outcome is None else access.outcome
    if who is None and outcome is Outcome.SERIOUS_FAILURE:
        outcome = Outcome.MINOR_FAILURE  # a first failed authentication, whichever status its contract has
    record = _event(service, kind, outcome, institution=who.institution if who else None, objects=access.objects)
    record["participants"].insert(0, _requestor(kind, who, asked.address))
    record["request"] = {"method": asked.method, "route": asked.route, "status": asked.status}
    return record


def event_of_service(service: str, kind: Kind) -> AuditRecord:
    """Make the event of what a service does by itself: it starts, or stops."""
    record = _event(service, kind, Outcome.SUCCESS, institution=None)
    record["participants"][0]["is_requestor"] = True
    return record


def event_of_operator(
    source: str,
    kind: Kind,
    *,
    user: str,
    objects: Collection[tuple[ObjectKind, str]],
    institution: str | None,
    outcome: Outcome = Outcome.SUCCESS,
) -> AuditRecord:
    """Make the event of what somebody does by a command on this host."""
    record = _event(source, kind, outcome, institution=institution, objects=objects)
    requestor: AuditParticipant = {
        "user": user,
        "alternative_user": None,
        "is_requestor": True,
        "address": socket.gethostname(),
        "role": Role.APPLICATION.value,
    }
    record["participants"].insert(0, requestor)
    return record


def outcome_of(status: int) -> Outcome:
    """Say how a request ended, by the status of its answer."""
    if status < 400:
        return Outcome.SUCCESS
    if status >= 500:
        return Outcome.MAJOR_FAILURE
    return Outcome.SERIOUS_FAILURE if status == 403 else Outcome.MINOR_FAILURE


def _event(
    service: str,
    kind: Kind,
    outcome: Outcome,
    *,
    institution: str | None,
    objects: Collection[tuple[ObjectKind, str]] = (),
) -> AuditRecord:
    at = datetime.now(UTC)
    named: list[AuditObject] = [{"kind": each.value, "uid": uid} for each, uid in islice(objects, OBJECT_LIMIT)]
    own: AuditParticipant = {
        "user": f"radbus-{service}",
        "alternative_user": None,
        "is_requestor": False,
        "address": socket.gethostname(),
        "role": _ROLES.get(kind.event, (Role.APPLICATION, Role.APPLICATION))[1].value,
    }
    return {
        "_id": f"{at:%Y%m%dT%H%M%S%f}-{secrets.token_hex(8)}",
        "at": at,
        "institution": institution,
        "event": {
            "id": kind.event.value,
            "type": kind.type.value if kind.type else None,
            "action": kind.action.value,
            "outcome": outcome.value,
        },
        "participants": [own],
        "source": {"service": service, "replica": replica()},
        "objects": named,
        "object_count": len(objects),
        "repeats": 1,
        "request": None,
    }


def _requestor(kind: Kind, who: Principal | None, address: str | None) -> AuditParticipant:
    return {
        "user": who.name if who else UNKNOWN,
        "alternative_user": _credential(who) if who else None,
        "is_requestor": True,
        "address": address,
        "role": _ROLES.get(kind.event, (Role.APPLICATION, Role.APPLICATION))[0].value,
    }


def _credential(who: Principal) -> str:
    """Name the credentials as the operator's commands do: names of tokens may be alike."""
    kind, _, rest = who.caller.partition(":")
    return f"{kind}:{rest[: _TOKEN_ID_CHARACTERS if kind == 'token' else _CREDENTIAL_CHARACTERS]}"
