"""Finds the principal of a request, by whichever credentials it brings."""

from __future__ import annotations

from fastapi import Request
from radbus_storage import records
from radbus_storage.documents import Documents

from radbus_runtime.audit.access import current_access
from radbus_runtime.audit.codes import Kind
from radbus_runtime.auth.oidc import IdentityProvider
from radbus_runtime.auth.principal import AccessScope, Authenticate, ForbiddenError, Principal, UnauthenticatedError
from radbus_runtime.auth.rate_limits import RateLimiter
from radbus_runtime.auth.signed import unverified_claims
from radbus_runtime.auth.tokens import Tokens
from radbus_runtime.auth.users import ACCESS_ISSUER, Users
from radbus_runtime.settings import ServiceSettings

_NO_CREDENTIALS = "Invalid token header. No credentials provided."


class Authenticator:
    """Makes the dependencies by which routes know their callers."""

    def __init__(self, documents: Documents, settings: ServiceSettings) -> None:
        self._tokens = Tokens(documents[records.TOKENS])
        self._users = Users(
            documents[records.USERS], access_key=settings.access_key, access_lifetime_s=settings.access_lifetime_s
        )
        self._provider = IdentityProvider(settings.oidc) if settings.oidc is not None else None
        self._rate_limiter = RateLimiter(settings.rate_limit)

    def requires(self, scope: AccessScope, kind: Kind) -> Authenticate:
        """Make the dependency for `Authorization: Token <token>` or `Bearer <token>`; it checks the Source too.

        From here on the request is one for the audit trail, as an event of this kind.
        """

        async def authenticate(request: Request) -> Principal:
            current_access().kind = kind
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            token = token.strip()
            if scheme.lower() not in {"token", "bearer"} or not token:
                raise UnauthenticatedError(_NO_CREDENTIALS)
            principal = await self._admit(token)
            principal.require_source(request.headers.get("source"))
            principal.require(scope)
            return principal

        return authenticate

    def requires_secret(self, scope: AccessScope, kind: Kind) -> Authenticate:
        """Make the dependency for the header `API_AUTH_SECRET`, in whose stead an `Authorization` will do.

        None at all is an UnauthenticatedError, a wrong one a ForbiddenError: the clients of that dialect go by it.
        """
        by_header = self.requires(scope, kind)

        async def authenticate(request: Request) -> Principal:
            current_access().kind = kind
            secret = request.headers.get("api_auth_secret", "")
            if not secret and not request.headers.get("authorization", "").strip():
                raise UnauthenticatedError(_NO_CREDENTIALS)
            try:
                if not secret:
                    return await by_header(request)
                principal = await self._admit(secret)
            except UnauthenticatedError as error:
                raise ForbiddenError(str(error)) from error
            principal.require(scope)
            return principal

        return authenticate

    async def _admit(self, token: str) -> Principal:
        access = current_access()
        access.principal = principal = await self._principal_of(token)
        await self._rate_limiter.count(principal)
        access.admitted = True
        return principal

    async def _principal_of(self, token: str) -> Principal:
        # Who says that they have issued it is only asked for the way to check it.
        issuer = unverified_claims(token).get("iss")
        if issuer == ACCESS_ISSUER:
            return await self._users.principal_of(token)
        if self._provider is not None and issuer == self._provider.issuer:
            return await self._provider.principal_of(token)
        return await self._tokens.principal_of(token)
