"""Every request that shows credentials leaves one audit event, whichever route it is for: taken from the documents.

Each request comes from an address of its own, by which its event is found.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from radbus_cli.tokens import create_in
from radbus_runtime.audit.middleware import PATH_OBJECTS, UNNAMED
from radbus_runtime.auth.principal import AccessScope
from radbus_storage.documents import Documents
from radbus_storage.settings import DocumentSettings
from radbus_testing.waiting import eventually

from tests.conftest import Hospital
from tests.contract.documents import JSON_BODIES, Operation, operations
from tests.contract.wire import RELATED, Answer, Part, ask_address, multipart

pytestmark = pytest.mark.stack

PUBLIC = re.compile(r"/(healthz|readyz|ping|openapi\.json|docs|redoc|api/v1/(storage|feedback))")
LOGIN = "/api/auth/jwt_login/"
_PARAMETER = re.compile(r"\{([^}:]+)[^}]*\}")
# (event, action) by route, of a call that is allowed and finds what it asks for.
KINDS = {
    "POST /upload": ("110104", "C"),
    "POST /studies": ("110104", "C"),
    "POST /studies/{study_instance_uid}": ("110104", "C"),
    "GET /v1/ping": ("110114", "E"),
    "GET /api/ping": ("110114", "E"),
    "GET /api/v1/models": ("110100", "R"),
    "POST /v1/model/start/{model_id}": ("110107", "C"),
    "POST /api/v1/models/{model_id}/segmentation": ("110107", "C"),
    "GET /results/{uid}": ("110106", "R"),
    "GET /results/v2/{uid}": ("110106", "R"),
    "GET /inferences": ("110106", "R"),
    "GET /inferences/{inference_id}": ("110106", "R"),
    "GET /api/models/{model_id}/patients/{patient_mrn}/inferences/": ("110106", "R"),
    "GET /v1/model/results/{run_id}": ("110106", "R"),
    "GET /api/v1/models/{model_id}/segmentation/{segmentation_id}": ("110111", "R"),
    "GET /api/v1/models/{model_id}/segmentation/{segmentation_id}/result": ("110106", "R"),
    "GET /compute/{uid}": ("110111", "C"),
    "POST /compute/{uid}": ("110111", "C"),
    "GET /use-cases": ("110100", "R"),
    "POST /explain": ("110100", "E"),
    "GET /jobs": ("110112", "E"),
    "GET /jobs/{job_id}": ("110111", "R"),
    "POST /jobs/{job_id}/cancel": ("110111", "U"),
    "POST /jobs/{job_id}/retry": ("110111", "U"),
}
_ADDRESSES = (f"198.18.{n // 250}.{1 + n % 250}" for n in itertools.count())


class Trail:
    """The events of the deployment, by the address from which a request came."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._settings = DocumentSettings(
            url=SecretStr(environment["RADBUS_MONGO_URL"]), database=environment["RADBUS_MONGO_DATABASE"]
        )

    def of(self, *addresses: str) -> dict[str, list[dict[str, Any]]]:
        """Return the events of each address."""
        found: dict[str, list[dict[str, Any]]] = {address: [] for address in addresses}
        for event in asyncio.run(self._find({"participants.address": {"$in": list(addresses)}})):
            found[event["participants"][0]["address"]].append(event)
        return found

    async def _find(self, where: dict[str, Any]) -> list[dict[str, Any]]:
        documents = Documents(self._settings)
        try:
            return await documents.audit.find(where, limit=10_000)
        finally:
            documents.close()


@pytest.fixture(scope="module")
def trail(north) -> Trail:
    return Trail(north.stack.environment())


@pytest.fixture(scope="module")
def audited(north) -> list[Operation]:
    """Every operation that asks for credentials."""
    found = [each for each in operations(north.stack) if not PUBLIC.fullmatch(each.path) and each.path != LOGIN]
    assert len(found) > 20
    return found


@pytest.fixture(scope="module")
def known(owned, north) -> Mapping[str, str]:
    """What stands for each parameter, so that the call finds something; the run has ended."""
    url, headers = f"{north.stack.url('results')}/v1/model/results/{owned.run}", {"API_AUTH_SECRET": north.token}
    eventually(lambda: ask_address("GET", url, headers=headers).status == 200, timeout_s=60, what="the end of a run")
    firsts = {name: values[0] for name, values in owned.values().items() if values}
    return firsts | {"model_id": "PassThroughModel:1729", "model of inferences": owned.model}


def ask(hospital: Hospital, operation: Operation, given: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    model = {"model_id": given["model of inferences"]} if "/patients/" in operation.path else {}
    path = _PARAMETER.sub(lambda name: quote({**given, **model}[name[1]], safe=":"), operation.path)
    body, kind = None, {}
    if operation.method == "POST" and operation.json_body:
        body, kind = JSON_BODIES.get(operation.path, b"{}"), {"Content-Type": "application/json"}
    elif operation.path.startswith(("/studies", "/upload")):
        body, kind = multipart([Part(b"no DICOM")]), dict(RELATED)
    elif operation.method == "POST":
        body = b"no zip"
    return ask_address(
        operation.method, f"{hospital.stack.url(operation.service)}{path}", headers={**headers, **kind}, body=body
    )


def credentials(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "API_AUTH_SECRET": token}


def asked_from_each(
    operations: list[Operation], send: Callable[[Operation, dict[str, str]], Answer]
) -> Iterator[tuple[Operation, str, Answer]]:
    for operation, address in zip(operations, _ADDRESSES, strict=False):
        yield operation, address, send(operation, {"X-Forwarded-For": address})


def events_of(trail: Trail, asked: list[tuple[Operation, str, Answer]]) -> list[tuple[Operation, Answer, list[dict]]]:
    found = trail.of(*(address for _, address, _ in asked))
    return [(operation, answer, found[address]) for operation, address, answer in asked]


def test_every_parameter_of_a_path_is_known_to_be_named_in_events_or_kept_out_of_them(audited):
    names = {name for operation in audited for name in _PARAMETER.findall(operation.path)}

    assert names <= {*PATH_OBJECTS, *UNNAMED}


def test_every_route_that_asks_for_credentials_leaves_one_event_with_who_what_and_how_it_ended(
    trail, audited, known, north
):
    own = credentials(north.token)

    asked = list(asked_from_each(audited, lambda each, where: ask(north, each, known, own | where)))

    faults = []
    for operation, answer, events in events_of(trail, asked):
        if len(events) != 1:
            faults.append(f"{operation}: {answer.status} left {len(events)} events")
            continue
        (event,) = events
        requestor, request = event["participants"][0], event["request"]
        seen = (requestor["user"], event["institution"], requestor["is_requestor"], event["source"]["service"])
        kind = KINDS[f"{operation.method} {operation.path}"]
        if seen != ("modality", north.institution, True, operation.service):
            faults.append(f"{operation}: {seen}")
        if (event["event"]["id"], event["event"]["action"]) != kind:
            faults.append(f"{operation}: {answer.status} {event['event']}, expected {kind}")
        if (event["event"]["outcome"] == 0) != (answer.status < 400) or request["status"] != answer.status:
            faults.append(f"{operation}: {answer.status} {event['event']} {request}")
        named = {each["uid"] for each in event["objects"]}
        expected = {known[name] for name in _PARAMETER.findall(operation.path) if name in PATH_OBJECTS}
        if not expected <= named:
            faults.append(f"{operation}: {expected} is not all in {named}")
    assert faults == []


def test_what_a_read_reached_is_named_by_the_uids_of_its_study_and_series(trail, owned, north):
    addresses = [next(_ADDRESSES) for _ in range(4)]
    paths = (
        ("results", f"/results/{owned.series}"),
        ("results", f"/inferences?series={owned.series}"),
        ("results", f"/api/models/{owned.model}/patients/{owned.patient_id}/inferences/"),
        ("scheduler", f"/jobs/{owned.job}"),
    )

    for address, (service, path) in zip(addresses, paths, strict=True):
        headers = {**north.headers, "X-Forwarded-For": address}
        assert ask_address("GET", f"{north.stack.url(service)}{path}", headers=headers).status == 200

    for events in trail.of(*addresses).values():
        (event,) = events
        assert {owned.study, owned.series} <= {each["uid"] for each in event["objects"]}
        assert owned.patient_id not in str(event)


def test_what_a_store_took_is_named_by_its_uids_and_counted(trail, new_series, north):
    series, address = new_series(3), next(_ADDRESSES)

    body = multipart([Part(each) for each in [*series.instances, b"no DICOM"]])
    headers = {**north.headers, **RELATED, "X-Forwarded-For": address}
    answer = ask_address("POST", f"{north.stack.url('ingest')}/upload", headers=headers, body=body)

    (event,) = trail.of(address)[address]
    assert answer.status == 200
    assert [each["uid"] for each in event["objects"][:2]] == [series.study, series.uid]
    assert (event["object_count"], event["event"]["outcome"]) == (5, 4)  # one part was refused


def refused_by_each(trail, audited, send) -> list[tuple[Operation, Answer, dict]]:
    """Return the one event that each route leaves of a request that it turns away; it is written behind the answer."""
    asked = list(asked_from_each(audited, send))
    eventually(
        lambda: all(events for _, _, events in events_of(trail, asked)), timeout_s=20, what="an event of each request"
    )
    found = events_of(trail, asked)
    assert [f"{operation}: {len(events)}" for operation, _, events in found if len(events) != 1] == []
    return [(operation, answer, events[0]) for operation, answer, events in found]


@pytest.mark.parametrize("headers", [{}, credentials("a-token-of-nobody")], ids=["none", "nobody's"])
def test_credentials_that_are_not_known_are_one_failed_authentication_of_nobody_on_every_route(
    trail, audited, known, north, headers
):
    found = refused_by_each(trail, audited, lambda each, where: ask(north, each, known, headers | where))

    for operation, answer, event in found:
        assert answer.status in (401, 403), operation
        assert event["event"] == {"id": "110114", "type": "110122", "action": "E", "outcome": event["event"]["outcome"]}
        assert event["event"]["outcome"] in (4, 8), operation
        assert (event["participants"][0]["user"], event["institution"]) == ("unknown", None), operation
        assert "of-nobody" not in str(event)


def test_what_a_caller_may_not_do_is_recorded_as_a_serious_failure_on_every_route(trail, audited, known, north):
    made = create_in(
        north.stack.environment(), institution=north.institution, name="powerless", scopes=frozenset[AccessScope]()
    )
    token = asyncio.run(made)

    asked = list(asked_from_each(audited, lambda each, where: ask(north, each, known, credentials(token) | where)))

    for operation, answer, events in events_of(trail, asked):
        (event,) = events
        assert answer.status == 403, operation
        assert (event["event"]["id"], event["event"]["outcome"]) != ("110114", 0), operation
        assert (event["participants"][0]["user"], event["event"]["outcome"]) == ("powerless", 8), operation


def test_one_request_too_many_is_recorded_as_a_failure_of_its_caller_on_every_route(trail, audited, known, north):
    def send(operation: Operation, where: dict[str, str]) -> Answer:
        made = create_in(north.stack.environment(), institution=north.institution, name="hasty", rate_limit="1/hour")
        token = asyncio.run(made)
        ask(north, operation, known, credentials(token))
        return ask(north, operation, known, credentials(token) | where)

    for operation, answer, event in refused_by_each(trail, audited, send):
        assert answer.status == 429, operation
        assert (event["participants"][0]["user"], event["event"]["outcome"]) == ("hasty", 4), operation


def test_what_another_institution_has_is_recorded_as_asked_for_in_vain(trail, owned, south):
    address = next(_ADDRESSES)

    headers = {**south.headers, "X-Forwarded-For": address}
    answer = ask_address("GET", f"{south.stack.url('results')}/results/{owned.series}", headers=headers)

    (event,) = trail.of(address)[address]
    assert (answer.status, event["event"]["outcome"], event["institution"]) == (404, 4, south.institution)
    assert event["objects"] == [{"kind": "uid", "uid": owned.series}]


def test_a_login_is_an_authentication_of_its_user_and_a_failed_one_is_nobodys(trail, new_user, north):
    user, good, bad = new_user(north.institution), next(_ADDRESSES), next(_ADDRESSES)
    url, kind = f"{north.stack.url('results')}{LOGIN}", {"Content-Type": "application/json"}

    let_in = ask_address(
        "POST", url, headers={**kind, "X-Forwarded-For": good}, body=json.dumps({"jwt": user.signed()}).encode()
    )
    refused = ask_address("POST", url, headers={**kind, "X-Forwarded-For": bad}, body=b'{"jwt": "a.b.c"}')

    (success,) = trail.of(good)[good]
    (failure,) = eventually(lambda: trail.of(bad)[bad], timeout_s=20, what="the event of a failed login")
    assert (let_in.status, refused.status) == (200, 401)
    assert (success["event"]["id"], success["event"]["type"], success["event"]["outcome"]) == ("110114", "110122", 0)
    assert (success["participants"][0]["user"], success["institution"]) == (user.name, north.institution)
    assert (failure["event"]["id"], failure["event"]["outcome"]) == ("110114", 4)


def test_a_flood_of_failed_authentications_is_counted_and_not_recorded_one_by_one(trail, owned, north):
    address = next(_ADDRESSES)
    url = f"{north.stack.url('results')}/results/{owned.series}"

    answers = {ask_address("GET", url, headers={"X-Forwarded-For": address}).status for _ in range(60)}

    assert answers == {401}
    assert len(trail.of(address)[address]) <= 1


def test_each_service_has_recorded_its_start(trail, north):
    started = asyncio.run(trail._find({"event.type": "110120"}))

    assert {each["source"]["service"] for each in started} >= {"ingest", "router", "scheduler", "results", "worker"}
