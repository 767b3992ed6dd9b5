"""Bearer tokens of a site's identity provider (OpenID Connect): whose they are is in their claims."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from radbus_runtime.auth.key_fetching import fetch_keys
from radbus_runtime.auth.principal import AccessScope, ForbiddenError, Principal, UnauthenticatedError
from radbus_runtime.auth.provider_keys import ProviderKeys
from radbus_runtime.auth.signed import unverified_key_id, verified_claims
from radbus_runtime.auth.tokens import is_institution
from radbus_runtime.settings import OidcSettings

_SUBJECT_LIMIT: Final = 255  # OpenID Connect Core 1.0, section 2
_SCOPE_PREFIX: Final = "radbus:"


class IdentityProvider:
    """Finds the principal of a bearer token that the site's identity provider has signed."""

    def __init__(self, settings: OidcSettings, keys: ProviderKeys | None = None) -> None:
        self._settings = settings
        self._keys = keys or ProviderKeys(partial(fetch_keys, settings))
        self.issuer = settings.issuer

    async def principal_of(self, token: str) -> Principal:
        """Find whose bearer token this is.

        Raises:
            UnauthenticatedError: It is not of this provider, not for radbus, or not valid now.
            ForbiddenError: It is, but names no institution.
            ProviderAwayError: The provider must be asked for its keys, and does not answer.
        """
        key_id = unverified_key_id(token)
        key = await self._keys.find(key_id) if key_id is not None else None
        if key is None:
            raise UnauthenticatedError("Invalid token.")
        claims = verified_claims(
            token,
            key,
            algorithms=self._settings.algorithms,
            require=["iss", "aud", "exp", "sub"],
            issuer=self._settings.issuer,
            audience=self._settings.audience,
        )
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        subject, institution = claims["sub"], claims.get(self._settings.institution_claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_LIMIT:
            raise UnauthenticatedError("Invalid token.")
        if not is_institution(institution):
            raise ForbiddenError("this bearer token names no institution")
        scopes = _scopes(claims.get(self._settings.scopes_claim))
        return Principal(str(institution), subject, scopes=scopes, caller=f"oidc:{subject}")


def _scopes(claim: object) -> frozenset[AccessScope]:
    given = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    names = {name.removeprefix(_SCOPE_PREFIX) for name in given if isinstance(name, str)}
    return frozenset(scope for scope in AccessScope if scope in names)
