"""The chest phantom as DICOM: valid, at the right place, the same each time."""

import io
import subprocess

import numpy as np
import pydicom
import pytest
from radbus_testing.phantom import ORIENTATIONS, chest_phantom
from radbus_testing.phantom_dicom import phantom_instances, write_phantom


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_and_positions_in_the_instances_are_those_of_the_phantom(orientation):
    phantom = chest_phantom(slices=12, rows=48, orientation=orientation)

    instances = [pydicom.dcmread(io.BytesIO(content)) for content in phantom_instances(phantom)]

    pixels = np.stack([ds.pixel_array * ds.RescaleSlope + ds.RescaleIntercept for ds in instances])
    np.testing.assert_array_equal(pixels, phantom.voxels)
    for k, ds in enumerate(instances):
        row, column = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        expected = np.array(phantom.origin_mm) + k * phantom.spacing_mm[0] * np.cross(row, column)
        np.testing.assert_allclose(np.array(ds.ImagePositionPatient, float), expected, atol=1e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_right_lung_is_on_the_right_in_every_orientation(orientation):
    phantom = chest_phantom(slices=30, rows=64, orientation=orientation)

    index = np.argwhere(phantom.truth.labels == 1).mean(axis=0)
    position = np.array(phantom.origin_mm) + phantom.direction @ (np.array(phantom.spacing_mm) * index)

    assert position[0] == pytest.approx(-80, abs=10)
    assert 120 < position[2] < 200


def test_the_same_phantom_is_the_same_bytes_twice():
    first, second = (list(phantom_instances(chest_phantom(slices=8, rows=32))) for _ in range(2))

    assert first == second


def test_header_values_can_be_chosen():
    phantom = chest_phantom(slices=8, rows=32)

    content = next(phantom_instances(phantom, study_instance_uid="2.25.7", patient_id="P7", body_part="LUNG"))
    ds = pydicom.dcmread(io.BytesIO(content))

    assert (ds.StudyInstanceUID, ds.PatientID, ds.BodyPartExamined) == ("2.25.7", "P7", "LUNG")


def test_emphysema_of_the_phantom_is_about_what_was_asked_for():
    phantom = chest_phantom(slices=60, rows=128, emphysema_fraction=0.2)

    assert phantom.truth.emphysema_index_percent == pytest.approx(20, abs=1)
    assert phantom.truth.right_lung_volume_ml > phantom.truth.left_lung_volume_ml


def test_dciodvfy_finds_no_error(tmp_path, dciodvfy):
    paths = write_phantom(tmp_path / "ct", chest_phantom(slices=8, rows=32, contrast=True))

    reports = [
        subprocess.run([dciodvfy, "-new", str(path)], capture_output=True, text=True, check=False).stderr
        for path in (paths[0], paths[-1])
    ]

    assert not [line for report in reports for line in report.splitlines() if line.startswith("Error")]
