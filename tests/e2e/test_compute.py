"""Asking for computation, as clients of the results API do, on the real parts."""

from __future__ import annotations

from typing import Any

import pytest
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack

WARD = "ward-7"


@pytest.fixture
def knee(make_series):
    return make_series(body_part="KNEE", study_description="CT knee")


def inferences(hospital, uid: str, *, count: int) -> list[dict[str, Any]]:
    """Wait for so many results of a series, the newest first, of which each is known to have overtaken the others."""

    def enough() -> list[dict[str, Any]] | None:
        found = hospital.get("/inferences", series=uid).json()
        return found if len(found) >= count and all(each["superseded_by"] for each in found[1:]) else None

    return eventually(enough, timeout_s=60, what=f"{count} inferences")


def ask(hospital, uid: str, *, recompute: bool = False):
    """Ask with GET, with a body where there is something to say in it."""
    return hospital.http.request(
        "GET",
        f"{hospital.stack.url('router')}/compute/{uid}",
        headers=hospital.headers,
        json={"recompute": True} if recompute else None,
    )


def test_what_computes_only_on_request_is_said_to_wait_is_asked_for_and_can_be_asked_for_again(hospital, knee):
    hospital.upload(knee.instances, source=WARD)

    waits = hospital.result(knee.uid)
    asked = ask(hospital, knee.uid)
    under_way = hospital.results(knee.uid)
    first = hospital.result(knee.uid)

    assert waits.status_code == 409
    assert f"GET /compute/{knee.uid}" in waits.json()["message"]
    assert (asked.status_code, under_way.status_code, first.status_code) == (200, 202, 200)
    assert asked.json() == {"message": "series_instance_uid successfully pushed for computation!", "success": True}
    assert first.json()["usecase"] == "asked"

    repeated = ask(hospital, knee.uid)
    again = ask(hospital, knee.uid, recompute=True)
    newest, oldest = inferences(hospital, knee.uid, count=2)

    assert (repeated.status_code, repeated.content, again.status_code) == (304, b"", 200)
    assert oldest["superseded_by"] == newest["id"] != first.json()["result"]["inference_id"]
    assert oldest["outputs"].keys() == newest["outputs"].keys()
    assert hospital.result(knee.uid).json()["result"]["inference_id"] == newest["id"]


def test_who_asks_before_the_series_is_complete_gets_the_result_when_it_is(hospital, knee):
    hospital.upload(knee.instances, source=WARD, complete=False)

    asked = ask(hospital, knee.uid)
    result = hospital.result(knee.uid)

    assert asked.status_code == 200
    assert result.status_code == 200
    assert result.json()["usecase"] == "asked"
    assert len(hospital.jobs()) == 1


def test_a_use_case_is_chosen_by_the_workspace_that_the_series_came_from(hospital, knee, make_series):
    elsewhere = make_series(body_part="KNEE", study_description="CT knee")
    hospital.upload(knee.instances, source=WARD)
    hospital.upload(elsewhere.instances, source="theatre")

    assert hospital.result(knee.uid).status_code == 409
    unrouted = hospital.result(elsewhere.uid)
    refused = ask(hospital, elsewhere.uid)

    assert (unrouted.status_code, refused.status_code) == (400, 400)
    assert refused.json() == unrouted.json()
    assert "asked (source: no)" in refused.json()["debug_info"]["reason"]


def test_a_study_of_another_institution_cannot_be_asked_for(hospitals, knee):
    owner, other = hospitals(), hospitals()
    owner.upload(knee.instances, source=WARD)
    owner.result(knee.uid)

    answers = [ask(other, uid) for uid in (knee.uid, knee.study)]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert owner.result(knee.uid).status_code == 409
