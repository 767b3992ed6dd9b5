"""Tokens of institutions: only their digests are stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final, Unpack

from radbus_contracts.errors import PermanentError
from radbus_storage.documents import Collection
from radbus_storage.errors import AlreadyThereError

from radbus_runtime.auth.last_use import LastUse
from radbus_runtime.auth.principal import Principal, UnauthenticatedError
from radbus_runtime.auth.rights import Rights, principal_of, record_of

ID_LENGTH: Final = 12
_LENGTH_LIMIT: Final = 4096
# It begins every object key and record id of the institution, so nothing in it may look like a path.
_INSTITUTION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECRET: Final = re.compile(rf"[\x21-\x7e]{{16,{_LENGTH_LIMIT}}}")  # it has to stand in a header


class InstitutionNameError(PermanentError):
    """Not a name that an institution may have."""


class SecretError(PermanentError):
    """Not a secret that a token may be."""


def is_institution(name: object) -> bool:
    """Say whether an institution may have this name."""
    return isinstance(name, str) and _INSTITUTION.fullmatch(name) is not None


def check_institution(name: str) -> None:
    """Raise InstitutionNameError when no institution may have this name."""
    if not is_institution(name):
        raise InstitutionNameError("institution: expected 1 to 64 letters, digits and .-_, the first no sign")


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


async def create_token(
    tokens: Collection,
    *,
    institution: str,
    name: str,
    days: float | None = None,
    secret: str | None = None,
    **rights: Unpack[Rights],
) -> str:
    """Make a token of an institution, or take a secret as one; store its digest and return it: it is not seen again.

    Raises:
        InstitutionNameError: The name is empty, too long, or has other characters than letters, digits and `.-_`.
        SecretError: The secret is too short, too long, cannot stand in a header, or is a token already.
        RateLimitFormError: The rate limit is none.
    """
    check_institution(institution)
    if secret is not None and not _SECRET.fullmatch(secret):
        raise SecretError(f"secret: expected 16 to {_LENGTH_LIMIT} visible ASCII characters without spaces")
    token = secret or secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    record = {
        "_id": digest(token),
        "institution": institution,
        "name": name,
        **record_of(rights),
        "created_at": now,
        "expires_at": now + timedelta(days=days) if days is not None else None,
        "last_used_at": None,
    }
    try:
        await tokens.insert(record)
    except AlreadyThereError as error:
        raise SecretError("secret: expected one that is not a token already") from error
    return token


class Tokens:
    """Finds whose a token is; one read by its key."""

    def __init__(self, tokens: Collection) -> None:
        self._tokens = tokens
        self._last_use = LastUse(tokens)

    async def principal_of(self, token: str) -> Principal:
        """Find whose token this is.

        Raises:
            UnauthenticatedError: Nobody's, or it has expired; which of these is not told.
        """
        if len(token) > _LENGTH_LIMIT:
            raise UnauthenticatedError("Invalid token.")
        wanted = digest(token)
        found = await self._tokens.find_one({"_id": wanted})
        if found is None or not hmac.compare_digest(found["_id"], wanted):
            raise UnauthenticatedError("Invalid token.")
        if found["expires_at"] is not None and found["expires_at"] <= datetime.now(UTC):
            raise UnauthenticatedError("Invalid token.")
        self._last_use.note(found)
        return principal_of(found, name=found["name"], caller=f"token:{wanted}")
