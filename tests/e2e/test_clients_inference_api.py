"""A script of the inference API: a key of its own, a login, and arrays that fit on the images that they are of."""

from __future__ import annotations

import io
import time
import zipfile

import jwt
import numpy as np
import pydicom
import pytest
import requests

from tests.contract.addresses import url
from tests.contract.users import LOGIN, history, register

pytestmark = pytest.mark.stack


def test_a_script_logs_in_lists_a_patients_inferences_and_lays_their_arrays_on_their_images(
    hospital, make_series, tmp_path
):
    series = make_series(patient_id="MRN/0815 ÄÖ")
    hospital.upload(series.instances)
    assert hospital.result(series.uid).status_code == 200
    (known,) = requests.get(
        url(hospital.stack, f"/inferences?series={series.uid}"), headers=hospital.headers, timeout=30
    ).json()
    user = register(hospital.stack, tmp_path, f"reader-of-{hospital.institution}", hospital.institution)

    login = requests.post(url(hospital.stack, LOGIN), json={"jwt": user.signed()}, timeout=30)
    token = login.json()["token"]
    expires = jwt.decode(token, options={"verify_signature": False})["exp"]
    found = requests.get(
        url(hospital.stack, history(known["model"]["id"], "MRN/0815 ÄÖ")),
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )

    assert expires > time.time()
    assert found.status_code == 200
    (inference,) = found.json()
    assert set(inference) == {"model", "study", "inputs", "outputs"}
    (file,) = inference["study"]["files"]
    packed = zipfile.ZipFile(io.BytesIO(requests.get(file["url"], timeout=60).content))
    images = [pydicom.dcmread(packed.open(name)) for name in packed.namelist()]
    images.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    stacked = np.stack([ds.pixel_array.astype(np.int32) for ds in images])
    assert (stacked + int(images[0].RescaleIntercept) == series.phantom.voxels).all()
    (address,) = [
        value[series.study][series.uid]
        for name, value in inference["outputs"].items()
        if name.endswith("_segmentation_array")
    ]
    array = np.load(io.BytesIO(requests.get(address, timeout=60).content))
    assert array["segmentation"].shape == stacked.shape
    assert np.allclose(array["origin_mm"], np.array(images[0].ImagePositionPatient, float), atol=1e-3)
    agreement = (array["segmentation"] == series.phantom.truth.labels).mean()
    assert agreement > 0.98
