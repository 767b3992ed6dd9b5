"""The router's routes, asked in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from radbus_router.adapters.use_case_files import load_use_cases
from radbus_router.handlers.requests import use_case_routes
from radbus_runtime.auth.principal import Principal, UnauthenticatedError
from radbus_runtime.http import create_api

from tests.unit.router.builders import CHEST_CT, use_case

BUILT_IN = load_use_cases(Path(__file__).parents[3] / "services" / "router" / "use_cases")
QCT = [each for each in BUILT_IN if each.use_case == "qct"]


async def by_header(request: Request) -> Principal:
    if request.headers.get("authorization") != "Token good":
        raise UnauthenticatedError("Invalid token.")
    return Principal("north", "good")


@pytest.fixture
def client() -> TestClient:
    of_study = use_case(use_case="ct_and_mr", scope="study", when={"two": "size(study.series) == 2"})
    api = create_api("router", description="")
    channels = {"plain": 'series.Phase == "plain"', "late": 'series.Phase == "late"'}
    two_phases = use_case(
        use_case="two_phases",
        scope="study",
        when={"two": "size(study.series) == 2"},
        tasks=[{"id": "segment", "machine": "two-inputs", "channels": channels}],
    )
    api.include_router(use_case_routes([*QCT, of_study, two_phases], lambda *_: by_header))
    return TestClient(api, headers={"Authorization": "Token good"})


@pytest.mark.parametrize(("method", "path"), [("GET", "/use-cases"), ("POST", "/explain")])
def test_without_a_token_there_is_no_answer(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"Authorization": "Token bad"}, json={"series": [{}]})

    assert answer.status_code == 401


def test_the_use_cases_are_listed_with_conditions_and_tasks(client: TestClient) -> None:
    listed = client.get("/use-cases").json()["use_cases"]

    assert [each["use_case"] for each in listed] == ["qct", "ct_and_mr", "two_phases"]
    assert listed[0]["conditions"]["modality"] == 'series.Modality == "CT"'
    assert listed[0]["tasks"][1] == {"id": "report", "machine": "report", "needs": ["lungs"], "channels": {}}
    assert QCT[0].triage is not None
    assert listed[0]["critical_when"] == QCT[0].triage.critical.expression
    assert listed[0]["priority_when"] == {}


def test_every_series_is_explained_alone_and_all_together_as_a_study(client: TestClient) -> None:
    asked = {"source": {"dialect": "c-store"}, "series": [{**CHEST_CT, "instances": 40}, {"Modality": "MR"}]}

    answer = client.post("/explain", json=asked).json()

    [[chest], [other]] = [each["use_cases"] for each in answer["series"]]
    assert (chest["matched"], other["matched"]) == (True, False)
    assert other["conditions"][1] == {
        "name": "modality",
        "expression": 'series.Modality == "CT"',
        "answer": "no",
        "reason": None,
    }
    assert [(each["use_case"], each["matched"]) for each in answer["study"]] == [
        ("ct_and_mr", True),
        ("two_phases", False),
    ]


@pytest.mark.parametrize(
    "series",
    [
        {"Modality": 2**80},
        {"Modality": None},
        {"Modality": {"CT": ["x"]}, "instances": "many", "all": "none"},
        {"ImageType": "DERIVED", "instances": -1},
        {},
    ],
)
def test_odd_values_are_explained_and_never_an_error(client: TestClient, series: dict[str, Any]) -> None:
    answer = client.post("/explain", json={"series": [series]})

    assert answer.status_code == 200
    assert answer.json()["series"][0]["use_cases"][0]["matched"] is False


def test_text_that_no_encoding_can_hold_is_refused(client: TestClient) -> None:
    body = b'{"series": [{"Modality": "\\ud800"}]}'

    answer = client.post("/explain", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400


def test_channels_are_listed_and_explained_with_the_series_that_each_would_get(client: TestClient) -> None:
    plain, enhanced = {"SeriesInstanceUID": "1.2", "Phase": "plain"}, {"SeriesInstanceUID": "1.3", "Phase": "late"}

    listed = client.get("/use-cases").json()["use_cases"][2]["tasks"]
    told = client.post("/explain", json={"series": [plain, enhanced]}).json()["study"][1]

    assert listed[0]["channels"] == {"plain": 'series.Phase == "plain"', "late": 'series.Phase == "late"'}
    assert told["matched"]
    assert [(each["name"], each["reason"]) for each in told["conditions"][2:]] == [
        ("channel segment.plain", "series 1.2"),
        ("channel segment.late", "series 1.3"),
    ]


@pytest.mark.parametrize("asked", [{}, {"series": []}, {"series": [3]}, {"series": [{}], "source": {"dialect": "fax"}}])
def test_a_question_of_another_form_is_422(client: TestClient, asked: dict[str, Any]) -> None:
    answer = client.post("/explain", json=asked)

    assert answer.status_code == 422
