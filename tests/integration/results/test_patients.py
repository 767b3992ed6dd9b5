"""What a model has found for a patient: by the patient's id, which is kept nowhere."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from urllib.parse import quote

import numpy as np
import pytest
import requests
from radbus_contracts.identity import inference_id, model_id
from radbus_dicom.derived.archives import make_npz
from radbus_machines.types import Geometry, LabelMap
from radbus_runtime.auth.tokens import create_token
from radbus_storage import records

from tests.integration.results.world import SERIES, STUDY, World

pytestmark = pytest.mark.stack

MODEL = model_id("qct", "lung-ct")
# Everything that an address could mistake for something of its own.
ODD_ID = "Nº 7/inferences/ ?x=1#%41"
SPACING_MM, ORIGIN_MM = (2.0, 0.5, 0.5), (-10.0, -20.0, 30.0)


async def infer(world: World, patient_id: str | None, *series: str, **job: int) -> None:
    """Let there be an inference on each series of a patient."""
    for each in series:
        await world.store_series(each, patient_id=patient_id)
        await world.store_outcome(world.job(each, **job))
        await world.publish(world.completed((each,), **job))
        await world.told(world.job(each, **job))


async def ask(world: World, patient_id: str, query: str = "", *, model: str = MODEL, **options) -> requests.Response:
    path = f"/api/models/{model}/patients/{quote(patient_id, safe='')}/inferences/{query}"
    return await world.get(path, allow_redirects=False, **options)


def series_of(answer: requests.Response) -> list[str]:
    return [file["series_instance_uid"] for each in answer.json() for file in each["study"]["files"]]


async def test_a_patients_inferences_are_an_array_of_exactly_what_the_inference_api_names(world):
    labels = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    array = make_npz(LabelMap("lungs", labels, ()), Geometry(SPACING_MM, ORIGIN_MM, np.eye(3)))
    inputs = {"patient_sex": {STUDY: "F"}, "image_position_patient": {STUDY: {SERIES: {"1": [0, 0, 0.1]}}}}
    await world.store_series(patient_id=ODD_ID)
    await world.store_instance("1.2.3.1", data=b"an instance")
    await world.store_outcome(world.job(), array=array, inputs=inputs)
    await world.publish(world.completed())
    await world.told(world.job())

    answer = await ask(world, ODD_ID)
    [found] = answer.json()
    [file] = found["study"].pop("files")
    outputs = found["outputs"]
    archive = await asyncio.to_thread(requests.get, file.pop("url"), timeout=10)
    mask = await asyncio.to_thread(requests.get, outputs.pop("lungs_segmentation_array")[STUDY][SERIES], timeout=10)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert file == {"study_instance_uid": STUDY, "series_instance_uid": SERIES}
    assert found == {
        "model": {"name": "lung-ct", "version": "1.0.0"},
        "study": {"date": "20260101"},
        "inputs": inputs,
        "outputs": {"emphysema_index": {STUDY: {SERIES: 3.0}}},
    }
    with zipfile.ZipFile(io.BytesIO(archive.content)) as entries:
        assert entries.namelist() == ["1.2.3.1.dcm"]
    with np.load(io.BytesIO(mask.content), allow_pickle=False) as arrays:
        assert arrays["segmentation"].dtype == np.uint8
        assert np.array_equal(arrays["segmentation"], labels)
        assert (tuple(arrays["spacing_mm"]), tuple(arrays["origin_mm"])) == (SPACING_MM, ORIGIN_MM)
        assert np.array_equal(arrays["direction"], np.eye(3))


async def test_a_patient_is_found_by_the_id_without_its_padding_and_with_or_without_the_last_slash(world):
    await infer(world, "  MRN 7", "1.2.1")
    await infer(world, "MRN 70", "1.2.2")

    answers = [await ask(world, each) for each in ("MRN 7", " MRN 7  ")]
    bare = await world.get(f"/api/models/{MODEL}/patients/MRN%207/inferences", allow_redirects=False)

    assert [series_of(each) for each in (*answers, bare)] == [["1.2.1"]] * 3


@pytest.mark.parametrize("other", ["", "MRN", "mrn 7", "MRN 7\0x", "\ud800", "%FF", "x" * 3000])
async def test_an_id_that_is_nobodys_has_no_inferences(world, other):
    await infer(world, "MRN 7", "1.2.1")
    await infer(world, None, "1.2.2")  # a series without a PatientID is nobody's

    path = quote(other.encode(errors="surrogatepass"), safe="%")
    answer = await world.get(f"/api/models/{MODEL}/patients/{path}/inferences/")

    assert (answer.status_code, answer.json()) == (200, [])


async def test_inferences_of_another_institution_or_of_another_model_are_not_in_the_array(world):
    await infer(world, "MRN 7", SERIES)
    token = await create_token(world.documents[records.TOKENS], institution=f"not-{world.institution}", name="other")

    others = await ask(world, "MRN 7", headers={"Authorization": f"Bearer {token}"})
    other_model = await ask(world, "MRN 7", model=model_id("qer", "head-ct"))

    assert (others.status_code, others.json()) == (200, [])
    assert (other_model.status_code, other_model.json()) == (200, [])


async def test_what_a_newer_inference_has_overtaken_is_left_out_unless_it_is_asked_for(world):
    await infer(world, "MRN 7", SERIES)
    await infer(world, "MRN 7", SERIES, revision=2)

    current, all_of_them = await ask(world, "MRN 7"), await ask(world, "MRN 7", "?superseded=true")

    assert (len(current.json()), len(all_of_them.json())) == (1, 2)


async def test_pages_of_a_patient_hold_each_inference_once_and_lead_on_whatever_the_id_is(world):
    series = ("1.2.1", "1.2.2", "1.2.3")
    await infer(world, ODD_ID, *series)

    first = await ask(world, ODD_ID, "?limit=2")
    second = await world.get(first.links["next"]["url"].removeprefix(world.url))

    assert series_of(first) + series_of(second) == list(reversed(series))
    assert "next" not in second.links


async def test_faults_are_told_as_detail(world):
    nobody = await ask(world, "MRN 7", headers={})
    no_page = await ask(world, "MRN 7", "?limit=0")
    no_cursor = await ask(world, "MRN 7", "?cursor=nonsense")

    assert [each.status_code for each in (nobody, no_page, no_cursor)] == [401, 422, 400]
    assert all(set(each.json()) == {"detail"} for each in (nobody, no_page, no_cursor))


async def test_a_patients_id_is_neither_in_the_record_of_the_inference_nor_in_the_log(world, results_log):
    patient_id = f"MRN-{world.institution}-secret"
    await infer(world, patient_id, SERIES)
    await ask(world, patient_id)
    await ask(world, patient_id, "?cursor=nonsense")

    record = await world.documents[records.INFERENCES].find_one({"_id": inference_id(world.job())})

    assert len(record["patient_key"]) == 64
    assert patient_id not in json.dumps(record, default=str)
    assert patient_id not in results_log.read_text()
    assert "patient.inferences_listed" in results_log.read_text()
