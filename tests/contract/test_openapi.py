"""What the services say of their routes is kept, and changes only on purpose; its examples are recorded answers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API = ROOT / "docs" / "api"
HTTP_METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def made() -> dict[str, dict]:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return json.loads(json.dumps(generate.open_api_documents()))


@pytest.mark.parametrize("name", ["ingest", "router", "scheduler", "results"])
def test_what_a_service_says_of_its_routes_is_what_is_kept(made, name):
    kept = json.loads((API / f"{name}.json").read_text())

    assert made[name] == kept, "run `make docs`, and look at what changes for clients"


def test_no_service_is_left_out(made):
    assert {path.stem for path in API.glob("*.json")} - {"examples"} == set(made)


def test_every_recorded_answer_is_of_a_route_and_a_status_that_a_service_names(made):
    named = {
        f"{method.upper()} {path} {status}"
        for document in made.values()
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in HTTP_METHODS
        for status in operation["responses"]
    }

    assert set(json.loads((API / "examples.json").read_text())) <= named
