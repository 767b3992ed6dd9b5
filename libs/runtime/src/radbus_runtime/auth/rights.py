"""What tokens and users are given, as their records hold it and as a principal has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from radbus_runtime.auth.principal import ALL_SCOPES, AccessScope, Principal
from radbus_runtime.auth.rate_limits import parse_rate_limit


class Rights(TypedDict, total=False):
    """What may be given to a token or a user; what is not given is as wide as it can be."""

    sources: tuple[str, ...]
    scopes: frozenset[AccessScope]
    models: tuple[str, ...]
    rate_limit: str | None


def record_of(rights: Rights) -> dict[str, Any]:
    """Return the part of a record that holds them.

    Raises:
        RateLimitFormError: The rate limit is none.
    """
    rate_limit = rights.get("rate_limit")
    if rate_limit is not None:
        parse_rate_limit(rate_limit)
    return {
        "sources": list(rights.get("sources", ())),
        "scopes": sorted(rights.get("scopes", ALL_SCOPES)),
        "models": list(rights.get("models", ())),
        "rate_limit": rate_limit,
    }


def rights_of(record: Mapping[str, Any]) -> Rights:
    """Read them from a record; one of an earlier version, which has none, has all."""
    given = record.get("scopes")
    return {
        "sources": tuple(record.get("sources", ())),
        "scopes": ALL_SCOPES if given is None else frozenset(scope for scope in AccessScope if scope in given),
        "models": tuple(record.get("models", ())),
        "rate_limit": record.get("rate_limit"),
    }


def principal_of(record: Mapping[str, Any], *, name: str, caller: str) -> Principal:
    """Return the principal that a token's or a user's record describes."""
    return Principal(record["institution"], name, caller=caller, **rights_of(record))
