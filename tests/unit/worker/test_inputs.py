"""The `inputs` of an Inference object: each value at the level at which it holds."""

from __future__ import annotations

import pytest
from radbus_worker.domain.inputs import FrameInput, Inputs, inference_inputs, merged, snake_case

STUDY, SERIES = "1.2", "1.2.3"


def arranged(*frames: FrameInput) -> Inputs:
    return inference_inputs(frames, study_instance_uid=STUDY, series_instance_uid=SERIES)


def test_a_value_of_the_patient_is_said_of_the_study():
    frames = [FrameInput(number, {"PatientSex": "F"}) for number in (1, 2)]

    inputs = arranged(*frames)

    assert inputs == {"patient_sex": {STUDY: "F"}}


def test_a_value_that_all_instances_share_is_said_of_the_series():
    frames = [FrameInput(number, {"PixelSpacing": [0.5, 0.5]}) for number in (1, 2)]

    inputs = arranged(*frames)

    assert inputs == {"pixel_spacing": {STUDY: {SERIES: [0.5, 0.5]}}}


def test_a_value_that_differs_is_said_by_instance_number():
    frames = [FrameInput(9, {"SliceLocation": 0.1}), FrameInput(8, {"SliceLocation": 0.2}), FrameInput(7, {})]

    inputs = arranged(*frames)

    assert inputs == {"slice_location": {STUDY: {SERIES: {"9": 0.1, "8": 0.2}}}}


@pytest.mark.parametrize("numbers", [(1, 1), (1, None)])
def test_instances_are_numbered_in_geometric_order_where_their_number_is_absent_or_repeats(numbers):
    frames = [FrameInput(number, {"SliceLocation": float(z)}) for z, number in enumerate(numbers)]

    inputs = arranged(*frames)

    assert inputs == {"slice_location": {STUDY: {SERIES: {"1": 0.0, "2": 1.0}}}}


def test_what_is_too_large_to_read_is_left_out():
    frames = [FrameInput(1, {"LUTData": list(range(10_000)), "KVP": 120})]

    inputs = arranged(*frames)

    assert inputs == {"kvp": {STUDY: {SERIES: 120}}}


@pytest.mark.parametrize(
    ("keyword", "spelled"),
    [
        ("ImagePositionPatient", "image_position_patient"),
        ("KVP", "kvp"),
        ("SOPInstanceUID", "sop_instance_uid"),
        ("FrameOfReferenceUID", "frame_of_reference_uid"),
    ],
)
def test_keywords_are_spelled_in_snake_case(keyword, spelled):
    assert snake_case(keyword) == spelled


def test_the_inputs_of_several_series_stand_beside_one_another():
    first = arranged(FrameInput(1, {"KVP": 120, "PatientSex": "F"}))
    second = inference_inputs(
        [FrameInput(1, {"KVP": 80, "PatientSex": "F"})], study_instance_uid=STUDY, series_instance_uid="1.2.4"
    )

    assert merged([first, second]) == {"kvp": {STUDY: {SERIES: 120, "1.2.4": 80}}, "patient_sex": {STUDY: "F"}}
