"""Real and deliberately broken instances, where the folder with them is there: every one gets a typed answer."""

from __future__ import annotations

import numpy as np
import pytest
from radbus_dicom.decoding import decode_into
from radbus_dicom.errors import InvalidInstance, SeriesNotUsable
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import plan_volume
from radbus_dicom.reading import Profile, read_header

LOSSLESS = (
    "BigEndian",
    "Deflated",
    "J2KLossless",
    "JPEG2000LosslessOnly",
    "JPEGLSLossless",
    "Process14",
    "RLE",
    "Implicit",
)


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(scope="module")
def files(shared_data):
    return sorted(path for path in shared_data.rglob("*") if path.is_file() and path.suffix != ".csv")


@pytest.mark.parametrize("profile", Profile)
def test_every_instance_ends_as_a_header_or_a_typed_refusal(files, profile):
    refused = 0

    for path in files:
        try:
            with path.open("rb") as file:
                read_header(file, size_bytes=path.stat().st_size, profile=profile)
        except InvalidInstance:
            refused += 1

    assert 0 < refused < len(files) / 3


def test_every_instance_ends_as_pixels_or_a_typed_refusal(files):
    decoded = 0

    for path in files:
        try:
            plan = plan_volume(read_frame_headers(path))
            decode_into(path, plan.slots_by_path()[path], np.zeros(plan.shape, plan.dtype))
        except (InvalidInstance, SeriesNotUsable):
            continue
        decoded += 1

    assert decoded > len(files) / 3


def test_all_lossless_transfer_syntaxes_give_the_same_voxels(files):
    matrix = [path for path in files if path.parent.name == "ts_matrix_ct_chest"]
    voxels = {}

    for path in matrix:
        if path.name == "CTImage.dcm" or any(word in path.name for word in LOSSLESS):
            plan = plan_volume(read_frame_headers(path))
            voxels[path.name] = np.zeros(plan.shape, plan.dtype)
            decode_into(path, plan.slots_by_path()[path], voxels[path.name])

    assert len(voxels) == 9
    assert all(np.array_equal(array, voxels["CTImage.dcm"]) for array in voxels.values())
