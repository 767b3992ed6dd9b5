"""Who may see what."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("header", [{}, {"Authorization": "Token wrong"}, {"Authorization": "Basic eA=="}])
def test_without_a_token_that_is_known_nothing_is_taken_and_nothing_is_told(hospital, header):
    for method, path in (
        ("POST", "/upload"),
        ("POST", "/studies"),
        ("GET", "/results/1.2.3"),
        ("GET", "/inferences"),
        ("GET", "/use-cases"),
        ("POST", "/explain"),
        ("GET", "/jobs"),
    ):
        answer = hospital.http.request(method, hospital.url(path), headers=header)

        assert answer.status_code == 401, (method, path)
        assert answer.json()["authenticated"] is False


def test_bearer_is_as_good_as_token(hospital):
    answer = hospital.http.get(hospital.url("/results/1.2.3"), headers={"Authorization": f"Bearer {hospital.token}"})

    assert answer.status_code == 404


def test_another_institution_sees_nothing_of_a_result_nor_of_its_job(hospitals, make_series):
    north, south = hospitals(), hospitals()
    series = make_series()
    north.upload(series.instances)
    assert north.result(series.uid).status_code == 200
    (job,) = north.jobs()
    (inference,) = north.get("/inferences").json()
    del inference

    assert south.results(series.uid).status_code == 404
    assert south.results(series.study).status_code == 404
    assert south.get("/inferences", series=series.uid).json() == []
    assert south.jobs() == []
    assert south.get(f"/jobs/{job['id']}").status_code == 404
    cancel = south.http.post(south.url(f"/jobs/{job['id']}/cancel"), headers=south.headers)
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
