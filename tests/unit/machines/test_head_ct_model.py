"""The algorithm behind the Triton model `head_ct`, against phantoms with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from head_ct_algorithm import Judgement, judge
from radbus_testing.head_phantom import LEFT_BLOOD, RIGHT_BLOOD, Blood, Extra, HeadPhantom, head_phantom

SMALL = Blood((30.0, -20.0, 60.0), (7.0, 7.0, 7.0))  # 1.4 mL


def judged(**changes) -> tuple[HeadPhantom, Judgement]:
    phantom = head_phantom(rows=160, **changes)
    return phantom, judge(phantom.voxels, phantom.spacing_mm)


def codes(judgement: Judgement) -> set[str]:
    return {remark.code for remark in judgement.remarks}


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_head_without_blood_has_no_lesion_and_a_midline_in_the_middle():
    phantom, judgement = judged()

    assert judgement.lesions == ()
    assert judgement.shift_left_mm == pytest.approx(0, abs=0.6)
    assert judgement.remarks == ()
    assert dice(judgement.labels > 0, phantom.truth.labels > 0) > 0.96


@pytest.mark.parametrize(("blood", "side"), [(LEFT_BLOOD, "left"), (RIGHT_BLOOD, "right"), (SMALL, "left")])
def test_blood_is_found_with_its_volume_on_its_side(blood, side):
    phantom, judgement = judged(blood=(blood,))

    (lesion,) = judgement.lesions
    assert lesion.volume_ml == pytest.approx(phantom.truth.blood_ml, rel=0.15)
    assert lesion.side == side
    assert dice(judgement.labels == 2, phantom.truth.labels == 2) > 0.85
    assert phantom.truth.labels[lesion.plane].max() == 2


def test_blood_on_both_sides_is_two_lesions_the_larger_first():
    smaller = Blood((-34.0, 5.0, 64.0), (9.0, 10.0, 9.0))

    _, judgement = judged(blood=(LEFT_BLOOD, smaller))

    assert [lesion.side for lesion in judgement.lesions] == ["left", "right"]
    assert judgement.lesions[0].volume_ml > judgement.lesions[1].volume_ml


@pytest.mark.parametrize("shift_mm", [-9.0, -4.0, 3.0, 7.0])
def test_the_shift_is_measured_with_its_way(shift_mm):
    _, judgement = judged(shift_left_mm=shift_mm)

    assert judgement.shift_left_mm == pytest.approx(shift_mm, abs=1.0)


@pytest.mark.parametrize("slices", [26, 64])
def test_thin_and_thick_slices_give_the_same(slices):
    phantom, judgement = judged(slices=slices, blood=(RIGHT_BLOOD,), shift_left_mm=5.0)

    (lesion,) = judgement.lesions
    assert lesion.volume_ml == pytest.approx(phantom.truth.blood_ml, rel=0.15)
    assert judgement.shift_left_mm == pytest.approx(5.0, abs=1.0)


@pytest.mark.parametrize("extra", list(Extra))
def test_where_something_else_is_bright_blood_is_not_judged_and_the_midline_is(extra):
    _, judgement = judged(blood=(LEFT_BLOOD,), extras=frozenset({extra}))

    assert judgement.lesions is None
    assert codes(judgement) == {extra.value}
    assert judgement.shift_left_mm is not None
    assert judgement.labels.max() == 1


def test_in_noise_nothing_is_judged():
    _, judgement = judged(blood=(LEFT_BLOOD,), noise_hu=30.0)

    assert (judgement.lesions, judgement.shift_left_mm) == (None, None)
    assert codes(judgement) == {"noise_or_sharp_kernel"}


def test_calcifications_falx_and_sinus_are_no_lesions():
    # They are in every phantom; thin slices show them best.
    _, judgement = judged(slices=80)

    assert judgement.lesions == ()


def test_what_is_no_head_is_refused():
    air = np.full((20, 64, 64), -1000, np.int16)
    ball = np.full((20, 64, 64), 40, np.int16)

    assert codes(judge(air, (5.0, 3.0, 3.0))) == {"not_a_head"}
    assert codes(judge(ball, (5.0, 3.0, 3.0))) == {"not_a_head"}
    assert codes(judge(air[:4], (5.0, 3.0, 3.0))) == {"too_few_slices"}


def test_a_head_cut_at_the_top_says_so():
    phantom = head_phantom(rows=160)

    judgement = judge(phantom.voxels[:24], phantom.spacing_mm)

    assert "field_of_view_cut" in codes(judgement)


@pytest.mark.parametrize("frames", [4, 12])
def test_a_head_cut_below_says_so(frames):
    phantom = head_phantom(rows=160)

    judgement = judge(phantom.voxels[frames + 1 :], phantom.spacing_mm)

    (remark,) = judgement.remarks
    assert remark.code == "field_of_view_cut"
    assert "below" in remark.text


@pytest.mark.parametrize("frames", [0, 2, 3])
def test_the_neck_below_the_skull_is_no_cut(frames):
    phantom = head_phantom(rows=160)

    judgement = judge(phantom.voxels[frames:], phantom.spacing_mm)

    assert judgement.remarks == ()


@pytest.mark.parametrize("slices", [16, 18, 20, 22])
def test_blood_is_not_judged_on_slices_so_far_apart_that_a_head_without_any_seems_to_have_some(slices):
    _, judgement = judged(slices=slices)

    assert judgement.lesions is None
    assert codes(judgement) == {"thick_slices"}
    assert judgement.labels.max() == 1
    assert judgement.shift_left_mm == pytest.approx(0, abs=1.0)


@pytest.mark.parametrize("shift_mm", [-6.0, 6.0])
def test_the_points_of_the_shift_are_where_the_middle_is_and_where_that_of_the_ventricles_is(shift_mm):
    phantom, judgement = judged(shift_left_mm=shift_mm)

    front, middle, found = (
        phantom.origin_mm + phantom.direction @ (np.array([0, *point]) * phantom.spacing_mm)
        for point in judgement.shift_points
    )
    assert front[0] == pytest.approx(0, abs=1.0)
    assert front[1] == pytest.approx(-77, abs=4.0)  # the inside of the frontal bone
    assert middle[0] == pytest.approx(0, abs=1.0)
    assert found[0] - middle[0] == pytest.approx(judgement.shift_left_mm, abs=0.1)
    assert found[1] == middle[1]
    assert -35 < found[1] < 25  # beside the ventricles
