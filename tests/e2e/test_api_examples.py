"""The examples in docs/api are recorded answers: the routes still answer in that form.

`RADBUS_RECORD_EXAMPLES=1 pytest tests/e2e/test_api_examples.py` records them anew; then `make docs`.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest
from radbus_cli.local.stack import LocalStack
from radbus_cli.tokens import create_in
from radbus_testing.phantom_dicom import PhantomHeader, phantom_instances
from radbus_testing.waiting import eventually

from tests.contract.users import User, register

pytestmark = pytest.mark.stack
KEPT = Path(__file__).parents[2] / "docs" / "api" / "examples.json"
INSTITUTION = "north-hospital"
ROOT_UID = "1.2.826.0.1.3680043.10.1000"
STUDY, SERIES = f"{ROOT_UID}.1", f"{ROOT_UID}.1.2"
SIGNATURE = re.compile(r"\?X-Amz-[^\"]*")


class Caller:
    """Sends requests to the one address, and keeps the answers."""

    def __init__(self, url: str, token: str) -> None:
        self.answers: dict[str, Any] = {}
        self._http = httpx2.Client(base_url=url, timeout=60, headers={"Authorization": f"Token {token}"})

    def ask(self, operation: str, status: int, **given: Any) -> Any:
        """Send `METHOD /path/{parameter}` until it is answered by a status; names that are in the path go into it."""
        method, path = operation.split(" ")
        names = re.findall(r"{(\w+)}", path)
        address = path.format(**{name: given.pop(name) for name in names})
        answer = eventually(
            lambda: self._answered(method, address, status, given), timeout_s=60, what=f"{status} of {operation}"
        )
        content_type = answer.headers["content-type"]
        is_json = "json" in content_type
        body = answer.text if content_type == "text/plain" else None
        if is_json:
            body = shortened(json.loads(SIGNATURE.sub("?X-Amz-Signature=...", answer.text)))
        self.answers[f"{operation} {status}"] = {"content_type": content_type, "body": body}
        return answer.json() if is_json else answer

    def _answered(self, method: str, address: str, status: int, given: dict[str, Any]) -> httpx2.Response | None:
        answer = self._http.request(method, address, **given)
        return answer if answer.status_code == status else None


@pytest.fixture(scope="module")
def answers(radbus: LocalStack, small_chest, tmp_path_factory) -> dict[str, Any]:
    """Take the journeys of a client, once."""
    token = asyncio.run(create_in(radbus.environment(), institution=INSTITUTION, name="examples"))
    caller = Caller(radbus.url("front"), token)
    header = PhantomHeader(study_instance_uid=STUDY, series_instance_uid=SERIES)
    instances = list(phantom_instances(small_chest, header))
    _send(caller, instances)
    _read(caller)
    _read_as_user(caller, register(radbus, tmp_path_factory.mktemp("reader"), "example-reader", INSTITUTION))
    _segment(caller, instances)
    if os.environ.get("RADBUS_RECORD_EXAMPLES"):
        KEPT.write_text(json.dumps(caller.answers, indent=2, ensure_ascii=False) + "\n")
    return caller.answers


def _send(caller: Caller, instances: list[bytes]) -> None:
    files = [(f"file{number}", (f"{number}.dcm", io.BytesIO(each))) for number, each in enumerate(instances[1:])]
    last = files.pop()
    caller.ask("POST /upload", 400, files=[("file0", ("notes.txt", io.BytesIO(b"no DICOM")))])
    stow = {"Accept": "application/dicom+json", "Content-Type": "application/dicom"}
    caller.ask("POST /studies", 200, content=instances[0], headers=stow)
    caller.ask(
        "POST /studies/{study_instance_uid}", 409, study_instance_uid="1.2.3", content=instances[0], headers=stow
    )
    caller.ask("POST /upload", 200, files=files)
    caller.ask("POST /upload", 200, files=[last], headers={"X-Series-Complete": "true"})


def _read(caller: Caller) -> None:
    caller.ask("GET /results/{uid}", 200, uid=SERIES)
    caller.ask("GET /results/v2/{uid}", 200, uid=STUDY)
    caller.ask("GET /results/{uid}", 404, uid="1.2.3")
    caller.ask("GET /results/{uid}", 401, uid=SERIES, headers={"Authorization": "Token wrong"})
    [inference, *_] = caller.ask("GET /inferences", 200)
    caller.ask("GET /inferences/{inference_id}", 200, inference_id=inference["id"])
    caller.ask("GET /inferences/{inference_id}", 404, inference_id=inference["job"])
    caller.ask("GET /use-cases", 200)
    caller.ask("POST /explain", 200, json={"series": [{"Modality": "CT", "BodyPartExamined": "HEAD", "instances": 32}]})
    caller.ask("GET /jobs", 200)
    caller.ask("GET /jobs/{job_id}", 200, job_id=inference["job"])
    caller.ask("POST /jobs/{job_id}/cancel", 409, job_id=inference["job"])
    caller.ask("GET /jobs/{job_id}", 404, job_id=inference["id"])
    caller.ask("GET /compute/{uid}", 404, uid="1.2.3")
    caller.ask("POST /compute/{uid}", 200, uid=SERIES, json={"recompute": True})


def _read_as_user(caller: Caller, reader: User) -> None:
    caller.ask("POST /api/auth/jwt_login/", 401, json={"jwt": "none.at.all"})
    access = caller.ask("POST /api/auth/jwt_login/", 200, json={"jwt": reader.signed()})["token"]
    caller.answers["POST /api/auth/jwt_login/ 200"]["body"] = {"token": "eyJhbGciOiJIUzI1NiIs..."}
    history = "GET /api/models/{model_id}/patients/{patient_mrn}/inferences/"
    model = caller.ask("GET /inferences", 200)[0]["model"]["id"]
    bearer = {"Authorization": f"Bearer {access}"}
    caller.ask(history, 200, model_id=model, patient_mrn="PHANTOM", headers=bearer)


def _segment(caller: Caller, instances: list[bytes]) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as entries:
        for number, each in enumerate(instances):
            entries.writestr(f"ct/{number}", each)
    caller.ask("GET /api/v1/models", 200)
    start = "POST /v1/model/start/{model_id}"
    caller.ask(start, 404, model_id="Nobody:1", content=b"")
    run = caller.ask(start, 201, model_id="PassThroughModel:1729", content=archive.getvalue()).text
    caller.ask("GET /v1/model/results/{run_id}", 200, run_id=run)
    caller.ask("GET /v1/model/results/{run_id}", 404, run_id="none")
    start, other = "POST /api/v1/models/{model_id}/segmentation", "PassThroughModel:1729"
    run = caller.ask(start, 201, model_id=other, content=archive.getvalue())["segmentationId"]
    status = "GET /api/v1/models/{model_id}/segmentation/{segmentation_id}"
    caller.ask(status, 200, model_id=other, segmentation_id=run)


def test_what_was_recorded_is_what_the_journeys_ask(answers):
    assert set(json.loads(KEPT.read_text())) == set(answers), "record anew, see this module's first lines"


@pytest.mark.parametrize("operation", list(json.loads(KEPT.read_text())))
def test_a_route_answers_in_the_form_of_its_example(answers, operation):
    kept = json.loads(KEPT.read_text())[operation]

    assert form(answers[operation]["body"]) == form(kept["body"])
    assert answers[operation]["content_type"] == kept["content_type"]


def shortened(value: Any) -> Any:
    """Keep the first of many objects, and two of what is numbered: an example is to be read."""
    if isinstance(value, dict):
        kept = list(value.items())[:2] if value and all(key.isdecimal() for key in value) else value.items()
        return {key: shortened(each) for key, each in kept}
    if isinstance(value, list):
        return [shortened(each) for each in (value[:1] if value and isinstance(value[0], dict) else value)]
    return value


def form(value: Any) -> Any:
    """Reduce an answer to its keys and types; of a list, to that of its first item."""
    if isinstance(value, dict):
        return {key: form(each) for key, each in value.items()}
    if isinstance(value, list):
        return [form(each) for each in value[:1]]
    return "number" if isinstance(value, float) else type(value).__name__
