"""Institutions are apart on every route of every service: the routes are taken from the services' own documents.

A new route is in these tests at once; a parameter with a new name fails them until `tests.contract.documents` says
what stands for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest

from tests.conftest import Hospital
from tests.contract.documents import JSON_BODIES, Operation, Owned, operations
from tests.contract.wire import Answer, ask_address

pytestmark = pytest.mark.stack

PUBLIC = re.compile(
    r"/(healthz|readyz|ping|openapi\.json|docs|redoc|api/auth/jwt_login/|api/v1/(storage|feedback))"  # 410, the last
)
# What these are given in their path is not asked for: the caller's own is made under it, or it is everybody's.
MAKES_ITS_OWN = re.compile(r"/studies(/\{[^}]+\})?|/v1/model/start/\{[^}]+\}|/api/v1/models/\{[^}]+\}/segmentation")
# What is not known is an empty list here.
LISTS = re.compile(r"/api/models/\{[^}]+\}/patients/\{[^}]+\}/inferences/")
_PARAMETER = re.compile(r"\{([^}:]+)[^}]*\}")


@dataclass(frozen=True, slots=True)
class Question:
    """One request to one operation."""

    operation: Operation
    address: str
    about: tuple[str, ...]

    def ask(self, hospital: Hospital, headers: Mapping[str, str]) -> Answer:
        body = None
        if self.operation.method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            body = JSON_BODIES.get(self.operation.path, b"{}") if self.operation.json_body else b""
        kind = {"Content-Type": "application/json"} if body and self.operation.json_body else {}
        address = f"{hospital.stack.url(self.operation.service)}{self.address}"
        return ask_address(self.operation.method, address, headers={**headers, **kind}, body=body)

    def __str__(self) -> str:
        return f"{self.operation.service}: {self.operation.method} {self.address}"


def questions(operation: Operation, owned: Owned) -> Iterator[Question]:
    """Put what is owned into every parameter, one after the other, each of its values once."""
    values = owned.values()
    for parameter in operation.parameters:
        assert parameter.name in values, (
            f"{operation}: nothing is known of the parameter {parameter.name!r}: "
            "say in tests/contract/documents.py what stands for it"
        )
    paths = [parameter.name for parameter in operation.parameters if parameter.where == "path"]
    queries = [parameter.name for parameter in operation.parameters if parameter.where == "query"]
    firsts = {name: values[name][0] for name in paths}
    changes = [{}] + [{name: value} for name in paths for value in values[name][1:]]
    for change in changes:
        given = {**firsts, **change}
        path = _PARAMETER.sub(lambda name, given=given: quote(given[name[1]], safe=":"), operation.path)
        yield Question(operation, path, tuple(given.values()))
        for name in queries:
            for value in values[name]:
                yield Question(operation, f"{path}?{urlencode({name: value})}", (*given.values(), value))


def credentials(hospital: Hospital) -> dict[str, str]:
    return {"Authorization": f"Bearer {hospital.token}", "API_AUTH_SECRET": hospital.token}


@pytest.fixture(scope="module")
def asked(north, owned) -> list[Question]:
    """Every question about what north has that can be put to any service."""
    found = [question for operation in operations(north.stack) for question in questions(operation, owned)]
    assert len(found) > 30
    return found


def faults(asked: list[Question], fault_of: Callable[[Question], str | None]) -> list[str]:
    return [f"{question}: {fault}" for question in asked if (fault := fault_of(question))]


def test_nothing_of_one_institution_is_told_to_another_on_any_route(asked, owned, north, south):
    def leak(question: Question) -> str | None:
        answer = question.ask(south, credentials(south))
        told = answer.body + repr(answer.headers).encode()
        leaked = [each for each in {*owned.secrets, north.institution} - set(question.about) if each.encode() in told]
        return f"{answer.status} tells {leaked}" if leaked else None

    assert faults(asked, leak) == []


def test_what_another_institution_has_is_answered_as_if_it_were_not_there_on_any_route(asked, owned, south):
    def wrong(question: Question) -> str | None:
        answer = question.ask(south, credentials(south))
        path = question.operation.path
        if answer.status in (409, 422) or answer.status >= 500:
            return f"{answer.status} {answer.body!r}"
        if not owned.secrets & set(question.about) or MAKES_ITS_OWN.fullmatch(path):
            return None
        if "{" in path and not LISTS.fullmatch(path):
            return None if answer.status in (403, 404) else f"{answer.status} {answer.body!r}"
        return None if answer.body in (b"[]", b'{"jobs":[],"next":null}') else f"{answer.status} {answer.body!r}"

    assert faults(asked, wrong) == []


def test_the_same_questions_are_answered_to_the_institution_itself(asked, owned, north):
    """Otherwise the two tests above would pass with requests that nobody could be answered."""

    def unanswered(question: Question) -> str | None:
        about_owned = owned.secrets & set(question.about)
        if question.operation.method != "GET" or not about_owned or not _goes_together(question, owned):
            return None
        answer = question.ask(north, credentials(north))
        return f"{answer.status} {answer.body!r}" if answer.status in (403, 404, 422) else None

    assert faults(asked, unanswered) == []


def test_what_is_kept_from_others_is_told_to_the_institution_itself(asked, owned, north):
    """Otherwise there would be nothing to leak."""
    told = set()
    for question in asked:
        if question.operation.method == "GET" and question.operation.path not in told:
            body = question.ask(north, credentials(north)).body
            if any(each.encode() in body for each in owned.secrets - set(question.about)):
                told.add(question.operation.path)

    assert told >= {
        "/jobs",
        "/jobs/{job_id}",
        "/results/{uid}",
        "/results/v2/{uid}",
        "/inferences",
        "/inferences/{inference_id}",
        "/api/models/{model_id}/patients/{patient_mrn}/inferences/",
    }


def test_without_credentials_no_route_answers_but_the_public_ones(asked, south):
    def admitted(question: Question) -> str | None:
        if PUBLIC.fullmatch(question.operation.path):
            return None
        answer = question.ask(south, {})
        return None if answer.status == 401 else f"{answer.status} {answer.body!r}"

    assert faults(asked, admitted) == []


def test_with_a_token_that_nobody_has_no_route_answers_but_the_public_ones(asked, south):
    def admitted(question: Question) -> str | None:
        if PUBLIC.fullmatch(question.operation.path):
            return None
        wrong = {"Authorization": "Token of-nobody", "API_AUTH_SECRET": "of-nobody"}
        answer = question.ask(south, wrong)
        return None if answer.status in (401, 403) else f"{answer.status} {answer.body!r}"

    assert faults(asked, admitted) == []


def _goes_together(question: Question, owned: Owned) -> bool:
    """Say whether a run is asked for by its own id, and of the model that it is a run of."""
    path = question.operation.path
    if "segmentation" in path:
        return owned.run in question.about and "PassThroughModel:1729" in question.about
    return "run_id" not in path or owned.run in question.about
