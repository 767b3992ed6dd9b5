"""What OpenAPI says of the answers that are not a result; each dialect has its own."""

from __future__ import annotations

from typing import Final

from radbus_runtime import documented
from radbus_runtime.documented import Answers, detail, fault, refusal

PENDING: Final = refusal("Archives of series are being made; please try again.")

ERASED: Final = refusal("Its outputs were erased: they are not kept any longer.")

REFUSALS: Final[Answers] = {
    **{status: answer for status, answer in documented.REFUSALS.items() if status != 503},
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
    404: fault("No such run; another institution's is none, nor is one of a model that is not yours."),
    410: fault("The result was erased: it is not kept any longer."),
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
