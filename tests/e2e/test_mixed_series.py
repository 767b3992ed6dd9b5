"""What must never become one patient's result, however it was sent."""

from __future__ import annotations

import pytest
from pydicom.uid import generate_uid
from radbus_testing.phantom_dicom import PhantomHeader, phantom_instances

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("studies", [1, 2])
def test_images_of_two_patients_under_one_series_uid_are_nobodys_result(hospital, small_chest, studies):
    series, first = generate_uid(), generate_uid()
    second = first if studies == 1 else generate_uid()
    headers = [
        PhantomHeader(study_instance_uid=first, series_instance_uid=series, patient_id="ONE"),
        PhantomHeader(study_instance_uid=second, series_instance_uid=series, patient_id="TWO"),
    ]
    one, two = (list(phantom_instances(small_chest, header)) for header in headers)

    hospital.upload([*one[::2], *two[1::2]])
    answers = [hospital.result(uid) for uid in (series, first, second)]

    assert [answer.status_code for answer in answers] == [206] * 3
    assert "Expected images of one patient; the series has those of 2." in answers[0].json()["result"]["report"]
