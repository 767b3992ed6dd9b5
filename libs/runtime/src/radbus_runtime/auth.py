"""Who asks: tokens of institutions, as `Authorization: Token <token>` or `Bearer <token>`."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi import Request
from radbus_contracts.errors import PermanentError
from radbus_storage.documents import Collection

_LENGTH_LIMIT = 512
_SOURCE_LIMIT = 128  # it goes into messages and records
# It begins every object key and record id of the institution, so nothing in it may look like a path.
_INSTITUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class UnauthenticatedError(PermanentError):
    """No credentials, or none that is known."""


class ForbiddenError(PermanentError):
    """Known, but this is not allowed."""


class InstitutionNameError(PermanentError):
    """Not a name that an institution may have."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request it is. `sources` are the workspaces it may name; empty means any."""

    institution: str
    token_name: str
    sources: tuple[str, ...] = ()

    def require_source(self, workspace: str | None) -> None:
        """Raise ForbiddenError when a workspace is named that is not this token's; an empty name names none."""
        if not workspace:
            return
        if len(workspace) > _SOURCE_LIMIT or (self.sources and workspace not in self.sources):
            raise ForbiddenError("this token may not use this Source")


Authenticate = Callable[[Request], Awaitable[Principal]]


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


async def create_token(
    tokens: Collection, *, institution: str, name: str, sources: tuple[str, ...] = (), days: int | None = None
) -> str:
    """Make a token of an institution, store its digest, and return it: it is not seen again.

    Raises:
        InstitutionNameError: The name is empty, too long, or has other characters than letters, digits and `.-_`.
    """
    if not _INSTITUTION.fullmatch(institution):
        raise InstitutionNameError("institution: expected 1 to 64 letters, digits and .-_, the first no sign")
    token = secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    await tokens.insert(
        {
            "_id": digest(token),
            "institution": institution,
            "name": name,
            "sources": list(sources),
            "created_at": now,
            "expires_at": now + timedelta(days=days) if days is not None else None,
        }
    )
    return token


def token_authentication(tokens: Collection) -> Authenticate:
    """Make the dependency that finds a request's principal by its token, and checks the Source it names."""

    async def authenticate(request: Request) -> Principal:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if kind.lower() not in {"token", "bearer"} or not token or len(token) > _LENGTH_LIMIT:
            raise UnauthenticatedError("Invalid token header. No credentials provided.")
        # Found by the digest of a random token: what the look-up's time tells is of no use to a guesser.
        found = await tokens.find_one({"_id": digest(token)})
        if found is None or (found["expires_at"] is not None and found["expires_at"] < datetime.now(UTC)):
            raise UnauthenticatedError("Invalid token.")
        principal = Principal(found["institution"], found["name"], tuple(found["sources"]))
        principal.require_source(request.headers.get("source"))
        return principal

    return authenticate
