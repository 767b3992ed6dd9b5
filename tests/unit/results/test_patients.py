"""Who is refused a patient's inferences, and in which words; nothing is read for them."""

from __future__ import annotations

import httpx2
from fastapi import FastAPI, Request
from radbus_results.handlers.patients import PatientInferences, patient_routes
from radbus_runtime.audit.codes import Kind
from radbus_runtime.auth.principal import AccessScope, Authenticate, Principal
from radbus_runtime.patient_key import PatientKeys

PATH = "/api/models/{}/patients/MRN%207/inferences/"


async def ask(model_id: str, *, keys: PatientKeys | None) -> httpx2.Response:
    """Ask as somebody who may read the model m1 only, of a service that has no stores."""

    def requires(_: AccessScope, __: Kind) -> Authenticate:
        async def authenticate(_: Request) -> Principal:
            return Principal("site-a", "reader", models=("m1",))

        return authenticate

    api = FastAPI()
    reader = PatientInferences(None, None, keys, sign=str)  # type: ignore[arg-type]
    api.include_router(patient_routes(reader, requires))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(api), base_url="http://results") as client:
        return await client.get(PATH.format(model_id))


async def test_a_model_that_is_not_the_readers_is_403_with_a_detail():
    answer = await ask("m2", keys=PatientKeys(b"a secret of one site"))

    assert (answer.status_code, answer.json()) == (403, {"detail": "this model is not yours to read"})


async def test_without_a_secret_to_hash_ids_by_it_is_503_and_says_what_is_not_configured():
    answer = await ask("m1", keys=None)

    detail = "Inferences cannot be found by patient: RADBUS_PATIENT_KEY is not set."
    assert (answer.status_code, answer.json()) == (503, {"detail": detail})
