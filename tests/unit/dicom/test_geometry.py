"""From frames to a volume: every orientation and order, and the sentences with which a series is refused."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from radbus_dicom.errors import SeriesNotUsable
from radbus_dicom.geometry import plan_volume

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)
OBLIQUE = (0.8, 0.6, 0, -0.36, 0.48, 0.8)


def along_normal(orientation, count=6, spacing_mm=2.5, start=(-20.0, 30.0, 5.0)):
    normal = np.cross(orientation[:3], orientation[3:])
    return [tuple(np.array(start) + i * spacing_mm * normal) for i in range(count)]


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, OBLIQUE])
@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_frames_are_sorted_along_their_normal_whatever_their_order_and_numbers(
    write_series, headers_of, orientation, order
):
    positions = along_normal(orientation)
    given = {"forward": positions, "reversed": positions[::-1], "shuffled": random.Random(3).sample(positions, 6)}[
        order
    ]

    plan = plan_volume(headers_of(write_series(given, ImageOrientationPatient=list(orientation))))

    frames = np.array([frame.image_position_patient for frame in plan.frames])
    assert np.allclose(frames, positions)
    assert np.allclose(plan.geometry.spacing_mm, (2.5, 0.5, 0.75))
    assert plan.remarks == ()


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, OBLIQUE])
def test_the_geometry_puts_every_voxel_where_the_standard_does(write_series, headers_of, orientation):
    plan = plan_volume(headers_of(write_series(along_normal(orientation), ImageOrientationPatient=list(orientation))))

    frame, row, column = 4, 7, 3
    geometry = plan.geometry
    by_geometry = geometry.origin_mm + geometry.direction @ (np.array(geometry.spacing_mm) * (frame, row, column))

    by_equation = (  # PS3.3 equation C.7.6.2.1-1: spacing between columns goes with the row direction
        np.array(plan.frames[frame].image_position_patient)
        + np.array(orientation[:3]) * 0.75 * column
        + np.array(orientation[3:]) * 0.5 * row
    )
    assert np.allclose(by_geometry, by_equation, atol=1e-4)


def test_a_tilted_gantry_is_a_sheared_volume_with_a_remark(write_series, headers_of):
    tilt = np.radians(20)
    orientation = (1, 0, 0, 0, np.cos(tilt), -np.sin(tilt))
    positions = [(0, 0, 5.0 * i) for i in range(5)]

    plan = plan_volume(headers_of(write_series(positions, ImageOrientationPatient=list(orientation))))

    assert np.allclose(plan.geometry.direction[:, 0], (0, 0, 1))
    assert plan.geometry.spacing_mm[0] == pytest.approx(5.0)
    assert "20.0 degrees" in plan.remarks[0]


def test_fractions_of_a_millimetre_are_a_remark(write_series, headers_of):
    positions = [(0, 0, z) for z in (0, 1.0, 2.05, 3.0, 4.0)]

    plan = plan_volume(headers_of(write_series(positions)))

    assert plan.remarks == ("The distance between images varies from 0.95 to 1.05 mm.",)


@pytest.mark.parametrize(
    ("distances", "words"),
    [
        ((0, 1, 2, 4, 5), "images are missing"),
        ((0, 1, 2, 3, 3, 4), "one image at each position"),
        ((0, 1, 2, 3, 5.5, 8), "mixed spacing"),
    ],
)
def test_gaps_and_repeated_positions_are_refused(write_series, headers_of, distances, words):
    paths = write_series([(0, 0, z) for z in distances])

    with pytest.raises(SeriesNotUsable, match=words):
        plan_volume(headers_of(paths))


def test_mixed_orientation_size_and_spacing_are_refused(write_series, headers_of):
    headers = headers_of(write_series([(0, 0, z) for z in range(4)]))
    turned = replace(headers[0], image_orientation_patient=SAGITTAL)
    larger = replace(headers[0], rows=512)
    finer = replace(headers[0], pixel_spacing_mm=(0.4, 0.4))
    nowhere = replace(headers[0], image_position_patient=None)

    for changed, words in (
        (turned, "one orientation"),
        (larger, "images of one size"),
        (finer, "one pixel spacing"),
        (nowhere, "1 of 4 have none"),
    ):
        with pytest.raises(SeriesNotUsable, match=words):
            plan_volume([changed, *headers[1:]])


def test_localizers_among_the_slices_are_left_out_with_a_remark(write_series, headers_of):
    headers = headers_of(write_series([(0, 0, z) for z in range(4)]))
    scout = replace(
        headers[0], image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), image_orientation_patient=CORONAL, rows=900
    )

    plan = plan_volume([scout, *headers])

    assert plan.shape[0] == 4
    assert plan.remarks == ("1 localizer (scout) image(s) in the series were left out.",)


def test_a_frame_of_reference_for_each_slice_is_a_remark(write_series, headers_of):
    headers = headers_of(write_series([(0, 0, z) for z in range(3)]))
    headers = [replace(header, frame_of_reference_uid=f"1.2.{i}") for i, header in enumerate(headers)]

    plan = plan_volume(headers)

    assert "3 frames of reference" in plan.remarks[0]


def test_too_few_frames_are_refused_with_the_numbers(write_series, headers_of):
    headers = headers_of(write_series([(0, 0, z) for z in range(3)]))

    with pytest.raises(SeriesNotUsable, match="at least 16 images; the series has 3"):
        plan_volume(headers, minimum_frames=16)


def test_a_radiograph_is_a_volume_of_one_frame_with_the_spacing_at_the_detector(write_series, headers_of):
    header = headers_of(write_series([(0, 0, 0)]))[0]
    radiograph = replace(
        header, modality="DX", image_position_patient=None, pixel_spacing_mm=None, imager_pixel_spacing_mm=(0.2, 0.2)
    )

    plan = plan_volume([radiograph])

    assert plan.shape == (1, 12, 10)
    assert plan.geometry.spacing_mm == (1.0, 0.2, 0.2)
    assert "ImagerPixelSpacing" in plan.remarks[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"patient_id": "another"}, "images of one patient; the series has those of 2"),
        ({"study_instance_uid": "1.2.3.4"}, "images of one study; the series has those of 2"),
    ],
)
def test_images_of_two_patients_or_studies_are_no_volume_whoever_put_them_together(
    write_series, headers_of, changed, said
):
    headers = headers_of(write_series(along_normal(AXIAL), PatientID="one"))

    with pytest.raises(SeriesNotUsable, match=said) as refused:
        plan_volume([*headers[:-1], replace(headers[-1], **changed)])

    assert "another" not in str(refused.value)


def test_images_that_share_an_instance_uid_are_refused_since_nobody_could_tell_which_is_meant(write_series, headers_of):
    headers = headers_of(write_series(along_normal(AXIAL)))

    with pytest.raises(SeriesNotUsable, match="a SOPInstanceUID of its own for each image; 1 have another's"):
        plan_volume([*headers[:-1], replace(headers[-1], sop_instance_uid=headers[0].sop_instance_uid)])


def test_an_image_that_does_not_say_of_whom_it_is_belongs_to_the_others(write_series, headers_of):
    headers = headers_of(write_series(along_normal(AXIAL), PatientID="one"))

    assert len(plan_volume([*headers[:-1], replace(headers[-1], patient_id="")]).frames) == 6
