"""Users who log in with a JWT of their own key, and the access tokens that they get for it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr
from radbus_contracts.errors import PermanentError
from radbus_storage.documents import Collection, Document
from radbus_storage.errors import StoreRefusedError

from radbus_runtime.audit.access import current_access
from radbus_runtime.auth.principal import ForbiddenError, Principal, UnauthenticatedError
from radbus_runtime.auth.rights import principal_of
from radbus_runtime.auth.signed import InvalidJwtError, unverified_claims, verified_claims

log = structlog.get_logger(__name__)

ACCESS_ISSUER: Final = "radbus"
_NAME_LIMIT: Final = 128
_REFUSAL: Final = (
    "Invalid JWT: expected RS256 by the registered key of its username, and the claims iss, exp and username."
)


class LoginOffError(PermanentError):
    """This deployment has no key to sign access tokens with."""


def fingerprint(public_key: str) -> str:
    """Return a short name of a public key in PEM."""
    return hashlib.sha256(public_key.encode()).hexdigest()[:12]


class Users:
    """Lets users in, and knows their access tokens; each asks for one read by the user's name."""

    def __init__(self, users: Collection, *, access_key: SecretStr | None, access_lifetime_s: int) -> None:
        self._users = users
        self._access_key = access_key.get_secret_value() if access_key is not None else None
        self._lifetime = timedelta(seconds=access_lifetime_s)
        # Checked in vain for a name that nobody has, so that it takes as long as a wrong signature.
        nobody = RSAPublicNumbers(65537, 2**2048 - 1).public_key()
        self._nobodys_key = nobody.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    async def login(self, login_jwt: str) -> str:
        """Give an access token for a JWT that a user has signed.

        Raises:
            LoginOffError: There is no key to sign it with.
            UnauthenticatedError: It is no such JWT; why is not told.
            ForbiddenError: It is, but from another issuer than the user is registered with.
        """
        if self._access_key is None:
            raise LoginOffError("Logging in is not configured: RADBUS_ACCESS_KEY is not set.")
        user = await self._find(unverified_claims(login_jwt).get("username"))
        key = self._nobodys_key if user is None else user["public_key"]
        try:
            claims = verified_claims(login_jwt, key, algorithms=["RS256"], require=["iss", "exp", "username"])
        except InvalidJwtError as error:
            log.info("login.refused", reason=type(error.__cause__).__name__, known=user is not None)
            raise UnauthenticatedError(_REFUSAL) from error
        if user is None:
            raise UnauthenticatedError(_REFUSAL)
        access = current_access()
        access.principal = principal_of(user, name=user["_id"], caller=f"user:{user['_id']}")
        if user["issuer"] not in (None, claims["iss"]):
            log.info("login.refused", reason="issuer", user=user["_id"])
            raise ForbiddenError("This user may not log in with a JWT of this issuer.")
        access.admitted = True
        log.info("user.logged_in", user=user["_id"], institution=user["institution"])
        return self._access_token(user, self._access_key)

    async def principal_of(self, access_token: str) -> Principal:
        """Find whose access token this is.

        Raises:
            UnauthenticatedError: Nobody's, it has expired, or the user is removed, or has another key or institution.
        """
        if self._access_key is None:
            raise UnauthenticatedError("Invalid token.")
        claims = verified_claims(
            access_token,
            self._access_key,
            algorithms=["HS256"],
            require=["exp", "sub", "key", "institution"],
            issuer=ACCESS_ISSUER,
        )
        user = await self._find(claims["sub"])
        if user is None or any(claims[name] != value for name, value in _bound_to(user).items()):
            raise UnauthenticatedError("Invalid token.")
        return principal_of(user, name=user["_id"], caller=f"user:{user['_id']}")

    async def _find(self, name: object) -> Document | None:
        if not isinstance(name, str) or len(name) > _NAME_LIMIT:
            return None
        try:
            return await self._users.find_one({"_id": name})
        except StoreRefusedError:  # half a surrogate pair, which JSON can spell and nobody is registered by
            return None

    def _access_token(self, user: Document, access_key: str) -> str:
        now = datetime.now(UTC)
        claims = {
            "iss": ACCESS_ISSUER,
            "sub": user["_id"],
            "iat": now,
            "exp": now + self._lifetime,
            **_bound_to(user),
        }
        return jwt.encode(claims, access_key, algorithm="HS256")


def _bound_to(user: Document) -> dict[str, str]:
    """Return what ends a user's access tokens when it changes."""
    return {"key": fingerprint(user["public_key"]), "institution": user["institution"]}
