"""The ways in as OpenAPI tells of them: bodies, headers, and every status with each media type that it comes in."""

from __future__ import annotations

from typing import Any, Final

from radbus_runtime.documented import REFUSALS, Answers, RefusalBody

from radbus_ingest.adapters.bodies import BodyForm
from radbus_ingest.adapters.stow_answers import JSON_TYPE, XML_TYPE, StowFault
from radbus_ingest.adapters.upload_answers import UploadAnswer, UploadRefusal

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_PAYLOAD: Final = {
    JSON_TYPE: {"schema": {"type": "object", "description": "PS3.18 10.5.3.2, as DICOM JSON (annex F)."}},
    XML_TYPE: {"schema": {"type": "string", "description": "The same as the Native DICOM Model (PS3.19 A.1)."}},
}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


BODY: Final[dict[str, Any]] = {
    "parameters": [
        _header("Source", "The workspace that the instances are from; the token must have it.", maxLength=128),
        _header("X-Series-Complete", "`true`: the series in this request are whole; there is no need to wait."),
    ],
    "requestBody": {"required": True, "content": {form.value: _BINARY for form in BodyForm}},
}
STUDY_BODY: Final[dict[str, Any]] = {
    **BODY,
    "parameters": [
        *BODY["parameters"],
        {
            "name": "study_instance_uid",
            "in": "path",
            "required": True,
            "description": "Instances of other studies are refused.",
            "schema": {"type": "string", "pattern": "^[0-9.]{1,64}$"},
        },
    ],
}
_AS_EVERYWHERE: Final[Answers] = {status: REFUSALS[status] for status in (401, 403, 429)}
UPLOAD_RESPONSES: Final[Answers] = {
    **_AS_EVERYWHERE,
    200: {"model": UploadAnswer, "description": "At least one instance is stored; each part has its answer."},
    400: {"model": UploadRefusal, "description": "No part is an instance, or the body cannot be read."},
    408: {"model": UploadRefusal, "description": "The body took too long."},
    413: {"model": UploadRefusal, "description": "A limit of size or number."},
    415: {"model": UploadRefusal, "description": "A media type that holds no instances."},
    503: {
        "model": UploadRefusal | RefusalBody,
        "description": "A store is away, or too much waits to be stored; see Retry-After. Sending it again is safe.",
    },
}
_FAULT: Final = UploadRefusal | StowFault  # in the dialect of the request
STOW_RESPONSES: Final[Answers] = {
    **_AS_EVERYWHERE,
    200: {
        "model": UploadAnswer,
        "description": "All stored: STOW-RS, or the answer of /upload for multipart/form-data or a Source header.",
        "content": _PAYLOAD,
    },
    202: {"description": "Some stored, or stored with warnings.", "content": _PAYLOAD},
    400: {"model": _FAULT, "description": "The body cannot be read, or the address names no StudyInstanceUID."},
    408: {"model": _FAULT, "description": "The body took too long."},
    409: {"description": "None stored; each has its reason.", "content": _PAYLOAD},
    413: {"model": _FAULT, "description": "A limit of size or number."},
    415: {"model": _FAULT, "description": "A media type that holds no instances."},
    503: {
        "model": UploadRefusal | StowFault | RefusalBody,
        "description": "A store is away, or too much waits to be stored; see Retry-After. Sending it again is safe.",
        "content": _PAYLOAD,
    },
}
