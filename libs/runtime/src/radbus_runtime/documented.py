"""What OpenAPI says of the refusals that `radbus_runtime.http` and `radbus_runtime.dialects` answer with."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, Field

Answer: TypeAlias = dict[str, Any]
Answers: TypeAlias = dict[int | str, Answer]


class RefusalBody(BaseModel):
    """Why it was not done, in the words of the results API."""

    success: Literal[False] = False
    message: str


class UnauthenticatedBody(BaseModel):
    """401 of the results API."""

    message: str
    authenticated: Literal[False] = False


class DetailBody(BaseModel):
    """Any refusal of the inference API."""

    detail: str


class InnerEyeFaultBody(BaseModel):
    """Any fault of the inferencing API."""

    code: str
    detail: str
    status: int
    title: str
    extra_details: str | None = Field(default=None, description="Only there where it says more than the title.")


def refusal(description: str) -> Answer:
    """Document a refusal of the results API."""
    return {"model": RefusalBody, "description": description}


def detail(description: str) -> Answer:
    """Document a refusal of the inference API."""
    return {"model": DetailBody, "description": description}


def fault(description: str) -> Answer:
    """Document a fault of the inferencing API."""
    return {"model": InnerEyeFaultBody, "description": description}


REFUSALS: Final[Answers] = {
    401: {"model": UnauthenticatedBody, "description": "No credentials, or none that is known."},
    403: refusal("Known, but its scopes, sources or models do not allow this."),
    413: refusal("The body is larger than any that is read here."),
    422: refusal("Not a request of the documented form; says which parameter."),
    429: refusal("Too many requests; see Retry-After."),
    503: refusal("A store is away; see Retry-After."),
}
"""What every route with credentials may answer."""
