"""Getting the keys of an identity provider over HTTP: OpenID Connect Discovery 1.0, and JWK sets (RFC 7517)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx2
import jwt
from pydantic import BaseModel, ValidationError

from radbus_runtime.auth.provider_keys import ProviderAwayError
from radbus_runtime.auth.signed import VerifyingKey
from radbus_runtime.settings import OidcSettings

_DEADLINE_S: Final = 5
_SIZE_LIMIT_BYTES: Final = 512 * 1024


class _Discovered(BaseModel):
    issuer: str
    jwks_uri: str


class _KeySet(BaseModel):
    keys: list[dict[str, Any]]


async def fetch_keys(settings: OidcSettings) -> dict[str, VerifyingKey]:
    """Get the provider's keys by their ids, in at most 5 s.

    Raises:
        ProviderAwayError: It does not answer, or not with keys that can be used.
    """
    try:
        async with asyncio.timeout(_DEADLINE_S), httpx2.AsyncClient(timeout=_DEADLINE_S) as http:
            url = settings.jwks_url or await _discovered_url(http, settings.issuer)
            key_set = _KeySet.model_validate_json(await _get(http, url))
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValidationError) as error:
        raise ProviderAwayError(f"the identity provider gave no keys ({type(error).__name__})") from error
    keys = dict(pair for data in key_set.keys if (pair := _usable(data, settings.algorithms)))
    if not keys:
        raise ProviderAwayError("the identity provider has no key of an allowed algorithm that has a kid")
    return keys


async def _discovered_url(http: httpx2.AsyncClient, issuer: str) -> str:
    body = await _get(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    discovered = _Discovered.model_validate_json(body)
    if discovered.issuer != issuer:
        raise ProviderAwayError("the identity provider says that it is another issuer than RADBUS_OIDC_ISSUER")
    return discovered.jwks_uri


async def _get(http: httpx2.AsyncClient, url: str) -> bytes:
    async with http.stream("GET", url) as answer:
        if answer.status_code != httpx2.codes.OK:
            raise ProviderAwayError(f"the identity provider answered {answer.status_code}")
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > _SIZE_LIMIT_BYTES:
                raise ProviderAwayError(f"the identity provider answered more than {_SIZE_LIMIT_BYTES} bytes")
    return bytes(body)


def _usable(data: dict[str, Any], algorithms: tuple[str, ...]) -> tuple[str, VerifyingKey] | None:
    key_id, algorithm = data.get("kid"), data.get("alg")
    if not isinstance(key_id, str) or data.get("kty") == "oct" or data.get("use", "sig") != "sig":
        return None
    if algorithm is not None and algorithm not in algorithms:
        return None
    try:
        key = jwt.PyJWK(data)
    except (jwt.PyJWTError, TypeError, ValueError):
        return None
    # With an `alg` it is for that one only; without, for any of the allowed that its type can do.
    return key_id, key if algorithm is not None else key.key
