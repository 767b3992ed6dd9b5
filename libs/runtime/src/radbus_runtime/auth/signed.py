"""JSON Web Tokens (RFC 7519): reading one whose signer is not yet known, and checking one with the signer's key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt
from jwt.types import Options

from radbus_runtime.auth.principal import UnauthenticatedError

ASYMMETRIC: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LENGTH_LIMIT: Final = 16 * 1024
_LEEWAY_S: Final = 30
# The last three are what PyJWT lets through for a key or a claim of another type than it expects.
_FAULTS: Final = (jwt.PyJWTError, RecursionError, TypeError, OverflowError)

VerifyingKey = jwt.PyJWK | Any  # a key that cryptography has read, or its PEM


class InvalidJwtError(UnauthenticatedError):
    """Not a JWT that is valid now; its cause says why, which is for the log and not for the caller."""


def unverified_claims(token: str) -> Mapping[str, Any]:
    """Read the claims of what may be a JWT, only to know whose key to check it with; none when it is no JWT."""
    if token.count(".") != 2 or len(token) > LENGTH_LIMIT:
        return {}
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except _FAULTS:
        return {}


def unverified_key_id(token: str) -> str | None:
    """Read which key a JWT says that it is signed with."""
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except _FAULTS:
        return None
    return key_id if isinstance(key_id, str) else None


def verified_claims(
    token: str,
    key: VerifyingKey,
    *,
    algorithms: Sequence[str],
    require: Sequence[str],
    issuer: str | None = None,
    audience: str | None = None,
) -> Mapping[str, Any]:
    """Check signature, `exp` and `nbf`, and `iss` and `aud` where they are given, and return the claims.

    Raises:
        InvalidJwtError: Any of these is not right, or a claim of `require` is not there.
    """
    options: Options = {
        "require": [*require],
        "enforce_minimum_key_length": True,
        "verify_aud": audience is not None,
        "verify_iat": False,  # says when it was made, not from when it is valid (RFC 7519, 4.1.6)
        "verify_sub": False,
        "verify_jti": False,
    }
    if len(token) > LENGTH_LIMIT:
        raise InvalidJwtError("Invalid token.")
    try:
        return jwt.decode(
            token, key, algorithms=[*algorithms], options=options, issuer=issuer, audience=audience, leeway=_LEEWAY_S
        )
    except _FAULTS as error:
        raise InvalidJwtError("Invalid token.") from error
