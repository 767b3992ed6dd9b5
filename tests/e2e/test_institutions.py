"""Who may see what."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("header", [{}, {"Authorization": "Token wrong"}, {"Authorization": "Basic eA=="}])
def test_without_a_token_that_is_known_nothing_is_taken_and_nothing_is_told(hospital, header):
    for method, service, path in (
        ("POST", "ingest", "/upload"),
        ("POST", "ingest", "/studies"),
        ("GET", "results", "/results/1.2.3"),
        ("GET", "results", "/inferences"),
        ("GET", "router", "/use-cases"),
        ("POST", "router", "/explain"),
        ("GET", "scheduler", "/jobs"),
    ):
        answer = hospital.http.request(method, f"{hospital.stack.url(service)}{path}", headers=header)

        assert answer.status_code == 401, (method, path)
        assert answer.json()["authenticated"] is False


def test_bearer_is_as_good_as_token(hospital):
    answer = hospital.http.get(
        f"{hospital.stack.url('results')}/results/1.2.3", headers={"Authorization": f"Bearer {hospital.token}"}
    )

    assert answer.status_code == 404


def test_another_institution_sees_nothing_of_a_result_nor_of_its_job(hospitals, make_series):
    north, south = hospitals(), hospitals()
    series = make_series()
    north.upload(series.instances)
    assert north.result(series.uid).status_code == 200
    (job,) = north.jobs()
    (inference,) = north.get("results", "/inferences").json()
    del inference

    assert south.results(series.uid).status_code == 404
    assert south.results(series.study).status_code == 404
    assert south.get("results", "/inferences", series=series.uid).json() == []
    assert south.jobs() == []
    assert south.get("scheduler", f"/jobs/{job['id']}").status_code == 404
    cancel = south.http.post(f"{south.stack.url('scheduler')}/jobs/{job['id']}/cancel", headers=south.headers)
    assert cancel.status_code == 404


def test_the_same_instances_of_two_institutions_are_two_series(hospitals, make_series):
    north, south = hospitals(), hospitals()
    series = make_series()

    first = north.upload(series.instances)
    second = south.upload(series.instances)

    assert all(entry["created"] for entry in [*first["messages"].values(), *second["messages"].values()])
    assert north.result(series.uid).status_code == 200
    assert south.result(series.uid).status_code == 200
    assert north.jobs()[0]["id"] != south.jobs()[0]["id"]
