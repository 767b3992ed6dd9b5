"""What OpenAPI says of the answers that are not a result; each dialect has its own."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from radbus_results.handlers.bodies import DetailBody, InnerEyeFaultBody, RefusalBody, UnauthenticatedBody

Answer: TypeAlias = dict[str, Any]
Answers: TypeAlias = dict[int | str, Answer]


def refusal(description: str) -> Answer:
    """Document a refusal of the results API."""
    return {"model": RefusalBody, "description": description}


def detail(description: str) -> Answer:
    """Document a refusal of the inference API."""
    return {"model": DetailBody, "description": description}


def fault(description: str) -> Answer:
    """Document a fault of the inferencing API."""
    return {"model": InnerEyeFaultBody, "description": description}


PENDING: Final = refusal("Archives of series are being made; please try again.")

REFUSALS: Final[Answers] = {
    401: {"model": UnauthenticatedBody, "description": "No credentials, or none that is known."},
    403: refusal("Known, but this is not allowed."),
    413: refusal("A body larger than any that is read here."),
    422: refusal("Not a request of the documented form; says which parameter."),
    502: refusal("A store is away."),
}
DETAILS: Final[Answers] = {
    400: detail("Not a cursor of a page."),
    401: detail("No credentials, or none that is known."),
    403: detail("The model is not yours to read."),
    404: detail("Not an address of this kind."),
    413: refusal("A body larger than any that is read here."),
    422: detail("Not a request of the documented form."),
    503: detail("A store is away, archives are being made, or patients' ids are not hashed here."),
}
FAULTS: Final[Answers] = {
    401: fault("No credentials."),
    403: fault("Credentials that are not known, or that do not allow this."),
    404: fault("No such run; another institution's is none."),
    413: refusal("A body larger than any that is read here."),
    500: fault("The run failed, or was cancelled (`RunCancelled`)."),
    503: fault("A store is away."),
}
ZIP: Final[Answers] = {
    200: {
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        "description": "A zip of one entry, the RT Structure Set.",
    },
    202: {"content": {"text/html": {}}, "description": "Not finished; the body is empty."},
    400: fault("What was uploaded is no zip of images (`InvalidZipFile`)."),
}
