"""Every route of every service keeps to its own OpenAPI document, whatever it is sent: the same requests each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.documents import Owned, documents

pytestmark = pytest.mark.stack
schemathesis.serializer.alias(["application/dicom", "application/zip"], "application/octet-stream")

CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
SERVICES = ("ingest", "router", "scheduler", "results", "worker-0")


@pytest.fixture(scope="module")
def of_all_services(radbus) -> dict[str, dict[str, Any]]:
    return documents(radbus)


def bounded(examples: int) -> settings:
    """Always the same examples, none kept, none made smaller: a failure's first example is small enough."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )


def test_no_service_is_left_out(of_all_services):
    assert set(of_all_services) == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_every_answer_of_every_route_is_one_that_the_document_promises(north, owned, of_all_services, service):
    schema = schemathesis.openapi.from_dict(of_all_services[service])
    schema.config.update(base_url=north.stack.url(service))
    headers = {"Authorization": f"Token {north.token}", "API_AUTH_SECRET": north.token}
    faults: dict[str, str] = {}

    def judge(case: Case) -> None:
        answer = case.call(headers=headers, timeout=10)
        if answer.status_code >= 500:
            sent = answer.request
            raise AssertionError(f"{answer.status_code} {answer.text[:300]} to {sent.method} {sent.url}")
        case.validate_response(answer, checks=CONFORMANCE)

    for result in schema.get_all_operations():
        operation = result.ok()
        fault = next(filter(None, (_first_fault(each, judge) for each in _strategies(operation, owned))), None)
        if fault is not None:
            faults[operation.label] = fault

    assert not faults, "\n\n".join(f"{label}\n{fault}" for label, fault in faults.items())


def _strategies(operation: Any, owned: Owned) -> list[SearchStrategy[Case]]:
    """Valid requests, valid ones about what is there, and invalid ones where a request can be invalid."""
    strategies = [operation.as_strategy()]
    known = {parameter.name: owned.values()[parameter.name][0] for parameter in operation.path_parameters}
    # What others look at is not to be computed once more.
    if known and not operation.path.startswith("/compute"):
        strategies.append(operation.as_strategy(path_parameters=known))
    invalid = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    if not invalid.is_empty and _can_be_drawn(invalid):
        strategies.append(invalid)
    return strategies


def _can_be_drawn(strategy: SearchStrategy[Case]) -> bool:
    """Say whether there is any such request: where every text is a valid parameter, there is no invalid one."""

    @bounded(1)
    @given(strategy)
    def draw(case: Case) -> None:
        del case

    try:
        draw()
    except Unsatisfiable:
        return False
    return True


def _first_fault(strategy: SearchStrategy[Case], judge: Callable[[Case], None]) -> str | None:
    @bounded(EXAMPLES)
    @given(case=strategy)
    def check(case: Case) -> None:
        judge(case)

    try:
        check()
    except (FailureGroup, AssertionError) as fault:
        return str(fault)
    return None
