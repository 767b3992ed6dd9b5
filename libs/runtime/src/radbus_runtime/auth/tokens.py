"""Tokens of institutions: only their digests are stored."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from radbus_contracts.errors import PermanentError
from radbus_storage.documents import Collection

from radbus_runtime.auth.principal import Principal, UnauthenticatedError

_LENGTH_LIMIT: Final = 512
# It begins every object key and record id of the institution, so nothing in it may look like a path.
_INSTITUTION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class InstitutionNameError(PermanentError):
    """Not a name that an institution may have."""


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


async def principal_of_token(tokens: Collection, token: str) -> Principal:
    """Find whose token this is.

    Raises:
        UnauthenticatedError: Nobody's, or it has expired.
    """
    if len(token) > _LENGTH_LIMIT:
        raise UnauthenticatedError("Invalid token.")
    # Found by the digest of a random token: what the look-up's time tells is of no use to a guesser.
    found = await tokens.find_one({"_id": digest(token)})
    if found is None or (found["expires_at"] is not None and found["expires_at"] < datetime.now(UTC)):
        raise UnauthenticatedError("Invalid token.")
    return Principal(found["institution"], found["name"], tuple(found["sources"]))
