"""What the inferencing API answers beside its runs: errors in its own words, and their description for its clients."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field
from radbus_runtime.dialects import INVALID_INPUT, InnerEyeFault
from radbus_runtime.documented import Answers, fault

INVALID_MODEL: Final = "InvalidModelId"
REPLACEMENT: Final = "POST /studies"
BODY_FAULTS: Final = {
    400: INVALID_INPUT,
    408: InnerEyeFault(408, "REQUEST_TIMEOUT", "InputTooSlow", "The input file did not arrive in time."),
    413: InnerEyeFault(413, "PAYLOAD_TOO_LARGE", "InputTooLarge", "The input file is larger than this server takes."),
}
GONE: Final = InnerEyeFault(
    410, "GONE", "ResourceGone", "This call was replaced by DICOMweb: send instances by STOW-RS, POST /studies."
)


class ModelAnswer(BaseModel):
    """A model that can be run."""

    id: str = Field(description="What the calls that start a run ask for.")
    uuid: str = Field(description="What credentials name it by; it stays the same over its versions.")
    name: str
    title: str
    version: str
    channels: list[str] = Field(description="The folders that a zip has to have; none: one folder of any name.")


class SegmentationAnswer(BaseModel):
    """A segmentation was started."""

    segmentationId: str  # noqa: N815 - the contract's name


def _errors(*statuses: int) -> Answers:
    return {status: fault(_SAID[status]) for status in statuses}


_SAID: Final = {
    400: "The body was cut.",
    401: "No credentials.",
    403: "Wrong credentials, or not of the scope that this takes.",
    404: "No such model, or not yours.",
    408: "The body took too long.",
    410: "Replaced by another call, which the detail names.",
    413: "The body is too large.",
    429: "Too many requests; see Retry-After.",
    503: "A store is away, or too much waits to be stored; see Retry-After.",
}
EMPTY_PAGE: Final[dict[str, Any]] = {
    "description": "It is up.",
    "content": {"text/html": {"schema": {"maxLength": 0}}},
}
GONE_RESPONSES: Final = _errors(410)
ASKED_RESPONSES: Final = _errors(401, 403, 429, 503)
START_RESPONSES: Final = _errors(400, 401, 403, 404, 408, 413, 429, 503)
RUN_ID_RESPONSE: Final[dict[str, Any]] = {
    "description": "The id of the run, and nothing else.",
    "content": {"text/plain": {"schema": {"type": "string", "format": "uuid"}}},
}
ZIP_BODY: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "model_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]+$"},
        }
    ],
    "requestBody": {
        "description": "A zip with a folder for each channel. Nobody looks into it before the run does.",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    },
}
