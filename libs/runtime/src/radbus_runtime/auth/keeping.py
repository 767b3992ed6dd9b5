"""What an operator does with tokens and users once there are some; making a token is in `tokens`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Unpack

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from radbus_contracts.errors import PermanentError
from radbus_storage.documents import Collection, Document
from radbus_storage.errors import AlreadyThereError

from radbus_runtime.auth.rights import Rights, record_of, rights_of
from radbus_runtime.auth.tokens import ID_LENGTH, check_institution, create_token

LIST_LIMIT: Final = 10_000
_ID: Final = re.compile(rf"[0-9a-f]{{{ID_LENGTH},64}}")
_USER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_KEY_BITS: Final = (2048, 8192)  # the upper bound is for the time that one check takes


class TokenNotFoundError(PermanentError):
    """No token has this id."""


class UserNotFoundError(PermanentError):
    """No user has this name."""


class UserError(PermanentError):
    """Not a user that can be registered."""


async def list_tokens(tokens: Collection, *, institution: str | None = None) -> list[Document]:
    """Return the records of the tokens, oldest first, expired ones too."""
    where = {} if institution is None else {"institution": institution}
    return await tokens.find(where, limit=LIST_LIMIT, sort=[("created_at", 1)])


async def rotate_token(tokens: Collection, token_id: str, *, grace: timedelta) -> str:
    """Make a token with the rights and the length of life of another, which expires after a time of grace.

    Raises:
        TokenNotFoundError: There is none, or it has expired: what has ended is not given anew.
    """
    old, now = await _find(tokens, token_id), datetime.now(UTC)
    expires_at = old["expires_at"]
    if expires_at is not None and expires_at <= now:
        raise TokenNotFoundError("expected the id of a token that has not expired")
    token = await create_token(
        tokens,
        institution=old["institution"],
        name=old["name"],
        days=None if expires_at is None else (expires_at - old["created_at"]) / timedelta(days=1),
        **rights_of(old),
    )
    ends_at = now + grace if expires_at is None else min(now + grace, expires_at)
    await tokens.update({"_id": old["_id"]}, {"$set": {"expires_at": ends_at}})
    return token


async def revoke_token(tokens: Collection, token_id: str) -> None:
    """Remove a token; it is refused from its next request on.

    Raises:
        TokenNotFoundError: There is none.
    """
    found = await _find(tokens, token_id)
    await tokens.delete({"_id": found["_id"]})


async def add_user(
    users: Collection,
    *,
    name: str,
    institution: str,
    public_key: bytes,
    issuer: str | None = None,
    **rights: Unpack[Rights],
) -> None:
    """Register a user with the key that signs what the user logs in with.

    Raises:
        InstitutionNameError: No institution may have this name.
        UserError: The name is none or is taken, or the key is not an RSA public key of 2048 bits or more.
        RateLimitFormError: The rate limit is none.
    """
    check_institution(institution)
    if not _USER_NAME.fullmatch(name):
        raise UserError("name: expected 1 to 128 letters, digits and ._@+-, the first no sign")
    record = {
        "_id": name,
        "institution": institution,
        "public_key": _public_key(public_key),
        "issuer": issuer,
        **record_of(rights),
        "created_at": datetime.now(UTC),
    }
    try:
        await users.insert(record)
    except AlreadyThereError as error:
        raise UserError("name: expected one that no user has; remove that user first") from error


async def list_users(users: Collection, *, institution: str | None = None) -> list[Document]:
    """Return the records of the users, by name."""
    where = {} if institution is None else {"institution": institution}
    return await users.find(where, limit=LIST_LIMIT, sort=[("_id", 1)])


async def remove_user(users: Collection, name: str) -> None:
    """Remove a user; the user's access tokens are refused from the next request on.

    Raises:
        UserNotFoundError: There is none.
    """
    if not await users.delete({"_id": name}):
        raise UserNotFoundError("expected the name of a user")


async def _find(tokens: Collection, token_id: str) -> Document:
    found: list[Document] = []
    if _ID.fullmatch(token_id):
        found = await tokens.find({"_id": {"$gte": token_id, "$lt": f"{token_id}g"}}, limit=2)
    if len(found) != 1:
        raise TokenNotFoundError("expected the id of one token, as `radbus tokens list` shows it")
    return found[0]


def _public_key(pem: bytes) -> str:
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        key = None
    low, high = _KEY_BITS
    if not isinstance(key, RSAPublicKey) or not low <= key.key_size <= high:
        raise UserError(f"key: expected an RSA public key of {low} to {high} bits in PEM (BEGIN PUBLIC KEY)")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
