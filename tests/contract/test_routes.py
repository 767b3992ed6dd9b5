"""The route table and the services say the same: what one serves the other names, with the service that serves it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from radbus_contracts.routes import ROUTES, ServiceName, routes_of
from radbus_ingest.app import create_app as ingest
from radbus_ingest.settings import IngestSettings
from radbus_results.app import create_app as results
from radbus_results.settings import ResultsSettings
from radbus_router.app import create_app as router
from radbus_router.settings import RouterSettings
from radbus_runtime.settings import load
from radbus_scheduler.app import create_app as scheduler
from radbus_scheduler.settings import SchedulerSettings
from radbus_worker.app import create_app as worker
from radbus_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
SERVICES = {
    "ingest": (IngestSettings, ingest),
    "router": (RouterSettings, router),
    "scheduler": (SchedulerSettings, scheduler),
    "results": (ResultsSettings, results),
    "worker": (WorkerSettings, worker),
}
NOT_PUBLIC = {"/healthz", "/readyz"}
ENVIRONMENT = {
    "RADBUS_AMQP_URL": "amqp://127.0.0.1/",
    "RADBUS_MONGO_URL": "mongodb://127.0.0.1/",
    "RADBUS_S3_URL": "http://127.0.0.1",
    "RADBUS_S3_ACCESS_KEY": "x",
    "RADBUS_S3_SECRET_KEY": "x",
    "RADBUS_TRITON_URL": "127.0.0.1:1",
    "RADBUS_USE_CASES_DIR": str(ROOT / "services" / "router" / "use_cases"),
    "RADBUS_MACHINES_DIR": str(ROOT / "triton_models"),
}


@pytest.fixture(scope="module")
def served() -> dict[str, set[tuple[str, str]]]:
    """What each service's OpenAPI document names, as method and path without the parameters' names."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        services = {name: create_app(load(kind)) for name, (kind, create_app) in SERVICES.items()}
    for service in services.values():
        service.documents.close()
    return {
        name: {
            (method.upper(), nameless(path))
            for path, methods in service.api.openapi()["paths"].items()
            for method in methods
            if path not in NOT_PUBLIC
        }
        for name, service in services.items()
    }


def nameless(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_serves_is_in_the_table_with_that_service(served, name):
    missing = {
        (method, path)
        for method, path in served[name]
        if not any(nameless(route.path) == path and route.service == name and route.takes(method) for route in ROUTES)
    }

    assert missing == set()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{'-'.join(route.methods) or 'any'} {route.path}")
def test_what_the_table_names_is_served(served, route):
    methods = {method for method, path in served[route.service] if path == nameless(route.path)}

    assert methods
    assert set(route.methods) <= methods


def test_no_two_routes_take_the_same_request():
    paths = [re.sub(r"\{\w+\}", "1.2.3", route.path) for route in ROUTES]

    assert all(len(routes_of(path)) == 1 for path in paths)


def test_every_path_can_be_told_by_its_beginning_and_its_method_where_parameters_cannot_be_matched():
    beginnings: dict[tuple[str, str], set[ServiceName]] = {}
    for route in ROUTES:
        beginning, parameter, _ = route.path.partition("{")
        for method in route.methods if parameter else ():
            beginnings.setdefault((method, beginning), set()).add(route.service)

    assert all(len(services) == 1 for services in beginnings.values())
    assert all(re.fullmatch(r"(/[a-z0-9_-]+|/\{\w+\})+/?", route.path) for route in ROUTES)
