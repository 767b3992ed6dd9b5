"""The bodies of `/compute`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, JsonValue, StrictBool

_ID_CHARACTERS = 128


class ComputeRequest(BaseModel):
    """What may be said with a request for computation."""

    recompute: StrictBool = Field(default=False, description="Compute once more what was computed before.")
    rerun: str | None = Field(
        default=None,
        max_length=_ID_CHARACTERS,
        description="Id of one job: run only it once more. The same answer, and one run, however often it is asked.",
    )


class RerunBody(BaseModel):
    """200: the run that follows a job is asked for."""

    message: str
    success: Literal[True] = True
    job_id: str = Field(description="Of the new run.")


class ComputeBody(BaseModel):
    """200: the jobs are asked for, or will be as soon as it is decided which."""

    message: Literal["series_instance_uid successfully pushed for computation!"] = (
        "series_instance_uid successfully pushed for computation!"
    )
    success: Literal[True] = True


class NotImplementedBody(BaseModel):
    """400: no use case matches."""

    success: Literal[False] = False
    message: Literal["Use case not implemented."] = "Use case not implemented."
    usecase: Literal["not_implemented"] = "not_implemented"
    debug_info: dict[str, str]
    result: dict[str, JsonValue] = Field(default_factory=dict)
