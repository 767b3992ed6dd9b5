"""Whose request it is and what it may do; the errors say why not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fastapi import Request
from radbus_contracts.errors import PermanentError, TransientError

from radbus_runtime.audit.codes import Kind

_SOURCE_LIMIT: Final = 128  # it goes into messages and records


class UnauthenticatedError(PermanentError):
    """No credentials, or none that is known."""


class ForbiddenError(PermanentError):
    """Known, but this is not allowed."""


class RateLimitedError(TransientError):
    """Known and allowed, but asking too often."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many requests; please try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class AccessScope(StrEnum):
    """What a caller may do with the data of its institution."""

    STORE = "store"  # send instances and archives
    READ = "read"  # results, inferences, jobs, use cases
    COMPUTE = "compute"  # ask for computation, and cancel it


ALL_SCOPES: Final = frozenset(AccessScope)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request it is. `sources` are the workspaces it may name; empty means any.

    `models` are the ids (`radbus_contracts.identity.model_id`) of those that it may run and read; empty means any.

    Its requests are counted under `caller`, which no two tokens or users share, to `rate_limit` where it has its own.
    """

    institution: str
    name: str
    sources: tuple[str, ...] = ()
    scopes: frozenset[AccessScope] = ALL_SCOPES
    models: tuple[str, ...] = ()
    caller: str = ""
    rate_limit: str | None = None

    def require(self, scope: AccessScope) -> None:
        """Raise ForbiddenError when this is not among what the caller may do."""
        if scope not in self.scopes:
            raise ForbiddenError(f"expected credentials with the scope {scope.value}")

    def require_source(self, workspace: str | None) -> None:
        """Raise ForbiddenError when a workspace is named that is not this caller's; an empty name names none."""
        if not workspace:
            return
        if len(workspace) > _SOURCE_LIMIT or (self.sources and workspace not in self.sources):
            raise ForbiddenError("this token may not use this Source")

    def has_model(self, model_id: str) -> bool:
        """Say whether this model is the caller's to run and to read."""
        return not self.models or model_id in self.models

    def require_model(self, model_id: str) -> None:
        """Raise ForbiddenError when this model's inferences are not the caller's to read."""
        if not self.has_model(model_id):
            raise ForbiddenError("this model is not yours to read")


Authenticate = Callable[[Request], Awaitable[Principal]]
"""Finds the principal of a request, or raises UnauthenticatedError, ForbiddenError or RateLimitedError."""

Requires = Callable[[AccessScope, Kind], Authenticate]
"""Makes the dependency of a route that needs a scope, and says what the route does for the audit trail."""
