"""What operators keep: callers, migrations, restores, the audit trail (`records` names the collections)."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict


class TokenRecord(TypedDict):
    """`tokens`: `_id` is the token's digest; what a token may is as its `Principal` has it."""

    _id: str
    institution: str
    name: str
    sources: list[str]
    scopes: list[str]
    models: list[str]
    rate_limit: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None  # to the minute


class UserRecord(TypedDict):
    """`users`: `_id` is the name by which a user logs in."""

    _id: str
    institution: str
    public_key: str  # PEM
    issuer: str | None  # the one that the user's JWTs must name
    scopes: list[str]
    models: list[str]
    rate_limit: str | None
    created_at: datetime


class MigrationRecord(TypedDict):
    """`migrations`: how far one migration is; `_id` is its name."""

    _id: str
    state: str  # running | done
    holder: str | None  # who runs it
    until: datetime  # by when the holder is believed to have died
    behind: str | None  # the `_id` behind which it goes on
    changed: int
    started_at: datetime
    finished_at: datetime | None


class RestoreRecord(TypedDict):
    """`restores`: which backup this system was restored from; `_id` is the backup's."""

    _id: str
    state: str  # restoring | restored
    started_at: datetime
    finished_at: datetime | None


class AuditEvent(TypedDict):
    """What happened, in codes of DICOM (PS3.15 A.5)."""

    id: str
    type: str | None
    action: str  # C | R | U | D | E
    outcome: int  # 0 | 4 | 8 | 12


class AuditParticipant(TypedDict):
    """Who took part, and from where."""

    user: str
    alternative_user: str | None  # which credentials: token:<id>, user:<name>, oidc:<subject>
    is_requestor: bool
    address: str | None
    role: str


class AuditSource(TypedDict):
    """Who says so."""

    service: str
    replica: str


class AuditObject(TypedDict):
    """What it was about; `uid` is never a patient's id."""

    kind: str
    uid: str


class AuditRequest(TypedDict):
    """The request, by its route and never by its address."""

    method: str
    route: str
    status: int


class AuditRecord(TypedDict):
    """`audit`: one event; never changed, and removed only when its own time is over. `_id` begins with the time."""

    _id: str
    at: datetime
    institution: str | None  # none where nobody is known, or it is of no institution
    event: AuditEvent
    participants: list[AuditParticipant]  # the requestor first
    source: AuditSource
    objects: list[AuditObject]  # at most 100
    object_count: int  # of all
    repeats: int  # how many alike it stands for
    request: AuditRequest | None
