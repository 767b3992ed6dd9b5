"""The bodies of `/compute`, and of what all routes refuse with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, JsonValue, StrictBool

AnswerSpecs = dict[int | str, dict[str, Any]]


class ComputeRequest(BaseModel):
    """What may be said with a request for computation."""

    recompute: StrictBool = Field(default=False, description="Compute once more what was computed before.")


class ComputeBody(BaseModel):
    """200: the jobs are asked for, or will be as soon as it is decided which."""

    message: Literal["series_instance_uid successfully pushed for computation!"] = (
        "series_instance_uid successfully pushed for computation!"
    )
    success: Literal[True] = True


class RefusalBody(BaseModel):
    """Why nothing was done."""

    success: Literal[False] = False
    message: str


class UnauthenticatedBody(BaseModel):
    """401."""

    message: str
    authenticated: Literal[False] = False


class NotImplementedBody(BaseModel):
    """400: no use case matches."""

    success: Literal[False] = False
    message: Literal["Use case not implemented."] = "Use case not implemented."
    usecase: Literal["not_implemented"] = "not_implemented"
    debug_info: dict[str, str]
    result: dict[str, JsonValue] = Field(default_factory=dict)


REFUSALS: AnswerSpecs = {
    401: {"model": UnauthenticatedBody, "description": "No token, or one that is not known."},
    403: {"model": RefusalBody, "description": "The token's scopes, or its sources, do not allow it."},
    503: {"model": RefusalBody, "description": "A store is away; try again."},
}
"""What every route with a token may refuse with."""

BODY_REFUSALS: AnswerSpecs = {
    **REFUSALS,
    413: {"model": RefusalBody, "description": "The body is too large."},
    422: {"model": RefusalBody, "description": "The request is not of the documented form."},
}
"""What a route that takes a body may refuse with."""
