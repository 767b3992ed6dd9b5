"""The inference API (CONTRACTS, section 2): login by a signed token, and the history of a patient's inferences."""

from __future__ import annotations

import io
import json
import re
import time
import urllib.request
import zipfile
from datetime import timedelta
from typing import Any

import jwt
import numpy as np
import pydicom
import pytest

from tests.contract.users import LOGIN, User, history
from tests.contract.wire import Answer, ask

pytestmark = pytest.mark.stack

MRN = "MRN-4711"


def download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def login(stack, body: Any, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(stack, "POST", LOGIN, headers={"Content-Type": "application/json", **headers}, body=content)


def listed(user: User, model_id: str, mrn: str = MRN) -> Answer:
    return ask(user.stack, "GET", history(model_id, mrn), headers={"Authorization": f"Bearer {user.access_token()}"})


@pytest.fixture(scope="session")
def user(new_user, north) -> User:
    return new_user(north.institution)


@pytest.fixture(scope="session")
def model_id(north, judged) -> str:
    """The id of the model that judged north's chest."""
    (found,) = ask(north.stack, "GET", f"/inferences?series={judged.uid}", headers=north.headers).json()
    return found["model"]["id"]


@pytest.fixture(scope="module", params=["of the patient", "by its id"])
def inference(request, north, judged) -> dict[str, Any]:
    """The one inference of north's judged chest, as each of its two addresses gives it."""
    if request.param == "of the patient":
        (found,) = listed(request.getfixturevalue("user"), request.getfixturevalue("model_id")).json()
        return found
    (found,) = ask(north.stack, "GET", f"/inferences?series={judged.uid}", headers=north.headers).json()
    return ask(north.stack, "GET", f"/inferences/{found['id']}", headers=north.headers).json()


def test_a_login_gives_a_token_whose_exp_the_client_can_read(user):
    answer = login(user.stack, {"jwt": user.signed()})

    assert answer.status == 200, answer.body
    assert list(answer.json()) == ["token"]
    claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
    assert time.time() < claims["exp"] < time.time() + 7 * 86400


def test_every_login_that_is_not_the_users_is_refused_with_a_detail(user, new_user, south):
    other = new_user(south.institution)
    public_key_as_secret = jwt.encode(
        user.claims(), "a-secret-that-is-long-enough-for-hmac-0123456789", algorithm="HS256"
    )
    attempts = {
        "another key": other.signed(username=user.name, iss=user.name),
        "unknown user": user.signed(username="nobody", iss="nobody"),
        "expired": user.signed(lifetime=timedelta(minutes=-5)),
        "no exp": user.signed(exp=None),
        "no username": user.signed(username=None),
        "shared secret": public_key_as_secret,
        "unsigned": jwt.encode(user.claims(), "", algorithm="none"),
        "no token": "garbage",
        "empty": "",
    }

    for what, attempt in attempts.items():
        answer = login(user.stack, {"jwt": attempt})

        assert answer.status in (401, 403), (what, answer)
        assert list(answer.json()) == ["detail"], what
        assert isinstance(answer.json()["detail"], str), what


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"jwt": 5}', b'{"jwt": null}'])
def test_a_login_that_is_not_of_its_form_is_a_detail_and_no_fault_of_the_server(user, body):
    answer = login(user.stack, body)

    assert answer.status in (400, 401, 403, 422)
    assert "detail" in answer.json()


def test_an_object_around_the_array_would_break_every_client_of_the_history(user, judged, model_id):
    answer = listed(user, model_id)

    assert answer.status == 200, answer.body
    assert answer.content_type == "application/json"
    assert isinstance(answer.json(), list)
    assert len(answer.json()) == 1


def test_a_patient_without_inferences_has_an_empty_array(user, judged, model_id):
    answer = listed(user, model_id, mrn="MRN-of-nobody")

    assert answer.status == 200
    assert answer.body == b"[]"


def test_another_institutions_inferences_are_simply_not_in_the_array(new_user, south, judged, model_id):
    answer = listed(new_user(south.institution), model_id)

    assert answer.status == 200
    assert answer.body == b"[]"


def test_a_model_that_is_not_the_users_is_403_with_a_detail(new_user, north, judged, model_id):
    other = new_user(north.institution, models=("another-model",))

    answer = listed(other, model_id)

    assert answer.status == 403
    assert list(answer.json()) == ["detail"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer a.b.c"}])
def test_without_an_access_token_the_history_is_401_with_a_detail(user, model_id, headers):
    answer = ask(user.stack, "GET", history(model_id, MRN), headers=headers)

    assert answer.status == 401
    assert list(answer.json()) == ["detail"]


def test_an_inference_names_its_model_and_its_study(inference, judged):
    assert inference["model"]["name"] == "lung-ct"
    assert inference["model"]["version"] == "1.0.0"
    assert inference["study"]["date"] == "20260102"
    (entry,) = inference["study"]["files"]
    assert entry["study_instance_uid"] == judged.study
    assert entry["series_instance_uid"] == judged.uid


def test_the_archive_of_a_series_holds_its_instances_as_they_came(inference, judged):
    archive = zipfile.ZipFile(io.BytesIO(download(inference["study"]["files"][0]["url"])))

    contents = [archive.read(name) for name in archive.namelist() if not name.endswith("/")]

    assert archive.testzip() is None
    assert sorted(contents) == sorted(judged.instances)


def test_inputs_stand_at_the_level_at_which_they_hold(inference, judged):
    inputs = inference["inputs"]

    spacing = [round(each, 6) for each in judged.phantom.spacing_mm[1:]]
    positions = inputs["image_position_patient"][judged.study][judged.uid]
    read = [pydicom.dcmread(io.BytesIO(each), stop_before_pixels=True) for each in judged.instances]
    assert inputs["pixel_spacing"][judged.study][judged.uid] == pytest.approx(spacing)
    assert set(positions) == {str(ds.InstanceNumber) for ds in read}
    for ds in read:
        assert positions[str(ds.InstanceNumber)] == pytest.approx([float(each) for each in ds.ImagePositionPatient])


def test_an_input_that_holds_for_the_whole_study_stands_under_the_study_alone(north, not_usable):
    (one,) = ask(north.stack, "GET", f"/inferences?series={not_usable.uid}", headers=north.headers).json()

    assert one["inputs"]["patient_sex"] == {not_usable.study: "O"}


def test_pixels_among_the_inputs_would_make_the_answer_as_large_as_the_study(inference):
    assert not any("pixel_array" in name or "pixel_data" in name for name in inference["inputs"])
    assert len(json.dumps(inference)) < 200_000


def test_outputs_stand_by_study_and_arrays_by_series_behind_a_url(inference, judged):
    outputs = inference["outputs"]

    arrays = {name: value for name, value in outputs.items() if name.endswith("_segmentation_array")}
    values = {name: value for name, value in outputs.items() if name not in arrays}
    assert arrays
    assert values
    assert all(list(value) == [judged.study] for value in outputs.values())
    assert all(list(value[judged.study]) == [judged.uid] for value in arrays.values())


def test_a_segmentation_lies_on_the_voxels_of_its_series(inference, judged):
    (url,) = [
        value[judged.study][judged.uid]
        for name, value in inference["outputs"].items()
        if name.endswith("_segmentation_array")
    ]

    archive = np.load(io.BytesIO(download(url)), allow_pickle=False)

    mask = archive["segmentation"]
    assert mask.dtype == np.uint8
    assert mask.shape == judged.phantom.voxels.shape
    assert mask.any()
    assert set(archive.files) >= {"segmentation", "spacing_mm", "origin_mm", "direction"}
    assert np.allclose(archive["spacing_mm"], judged.phantom.spacing_mm, atol=1e-3)
    assert np.allclose(archive["origin_mm"], judged.phantom.origin_mm, atol=1e-3)
    assert np.allclose(np.asarray(archive["direction"]).reshape(3, 3), judged.phantom.direction, atol=1e-6)


def test_the_same_inference_is_read_by_its_id_and_found_by_what_it_is_about(north, judged):
    found = ask(north.stack, "GET", f"/inferences?series={judged.uid}", headers=north.headers).json()

    (one,) = found
    by_id = ask(north.stack, "GET", f"/inferences/{one['id']}", headers=north.headers)
    assert by_id.status == 200
    assert by_id.json()["id"] == one["id"]
    assert by_id.json()["study"]["files"][0]["url"]
    for question, count in (
        (f"study={judged.study}", 1),
        (f"study={judged.study}&model=lung-ct&version=1.0.0&usecase=qct&triage=Routine", 1),
        (f"study={judged.study}&triage=Critical", 0),
        (f"study={judged.study}&model=another", 0),
        (f"study={judged.study}&version=9", 0),
        (f"study={judged.study}&usecase=qxr", 0),
        (f"study={judged.study}&since=2100-01-01T00:00:00Z", 0),
        (f"study={judged.study}&until=2000-01-01T00:00:00Z", 0),
    ):
        answer = ask(north.stack, "GET", f"/inferences?{question}", headers=north.headers)
        assert len(answer.json()) == count, question


def test_pages_are_followed_by_their_links_and_give_each_inference_once(north, judged, not_usable):
    path, seen = "/inferences?limit=1", []
    for _ in range(50):
        answer = ask(north.stack, "GET", path, headers=north.headers)
        seen += [each["id"] for each in answer.json()]
        link = answer.header("link")
        if link is None:
            break
        (target,) = re.fullmatch(r'<https?://[^/]+(/inferences\?[^>]+)>; rel="next"', link).groups()
        path = target

    whole = ask(north.stack, "GET", "/inferences?limit=500", headers=north.headers).json()
    assert link is None
    assert len(seen) >= 2
    assert seen == [each["id"] for each in whole]


@pytest.mark.parametrize("question", ["limit=0", "limit=x", "cursor=nonsense", "triage=Green", "since=yesterday"])
def test_a_question_that_cannot_be_answered_is_refused_with_what_was_expected(north, question):
    answer = ask(north.stack, "GET", f"/inferences?{question}", headers=north.headers)

    assert answer.status in (400, 422)
    assert answer.json()["message"]
