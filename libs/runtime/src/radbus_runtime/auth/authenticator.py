"""Finds the principal of a request, by whichever credentials it brings."""

from __future__ import annotations

from fastapi import Request
from radbus_storage import records
from radbus_storage.documents import Documents

from radbus_runtime.auth.principal import AccessScope, Authenticate, ForbiddenError, Principal, UnauthenticatedError
from radbus_runtime.auth.tokens import principal_of_token
from radbus_runtime.settings import ServiceSettings

_NO_CREDENTIALS = "Invalid token header. No credentials provided."


class Authenticator:
    """Makes the dependencies by which routes know their callers."""

    def __init__(self, documents: Documents, settings: ServiceSettings) -> None:
        self._tokens = documents[records.TOKENS]
        self._settings = settings

    def requires(self, scope: AccessScope) -> Authenticate:
        """Make the dependency for `Authorization: Token <token>` or `Bearer <token>`; it checks the Source too."""

        async def authenticate(request: Request) -> Principal:
            kind, _, token = request.headers.get("authorization", "").partition(" ")
            token = token.strip()
            if kind.lower() not in {"token", "bearer"} or not token:
                raise UnauthenticatedError(_NO_CREDENTIALS)
            principal = await principal_of_token(self._tokens, token)
            principal.require_source(request.headers.get("source"))
            principal.require(scope)
            return principal

        return authenticate

    def requires_secret(self, scope: AccessScope) -> Authenticate:
        """Make the dependency for the header `API_AUTH_SECRET`, in whose stead an `Authorization` will do.

        None at all is an UnauthenticatedError, a wrong one a ForbiddenError: the clients of that dialect go by it.
        """
        by_header = self.requires(scope)

        async def authenticate(request: Request) -> Principal:
            secret = request.headers.get("api_auth_secret", "")
            if not secret and "authorization" not in request.headers:
                raise UnauthenticatedError(_NO_CREDENTIALS)
            try:
                if not secret:
                    return await by_header(request)
                principal = await principal_of_token(self._tokens, secret)
            except UnauthenticatedError as error:
                raise ForbiddenError(str(error)) from error
            principal.require(scope)
            return principal

        return authenticate
