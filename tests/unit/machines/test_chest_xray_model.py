"""The algorithm behind the Triton model `chest_xray`, against the drawn chest."""

from __future__ import annotations

import numpy as np
import pytest
from chest_xray_algorithm import look
from radbus_machines.radiograph import SIDE_PX, picture_of
from radbus_testing.drawn_chest import HEART, LEFT, RIGHT, drawn_chest, drawn_hand, ellipse


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("opaque", [False, True])
def test_both_lungs_are_found_on_their_sides(opaque):
    picture, box = picture_of(drawn_chest(opaque=opaque))

    seen = look(picture)

    assert seen.view.argmax() == 0
    for mask, lung in zip(seen.masks[:2], (RIGHT, LEFT), strict=True):
        assert dice(box.enlarged(mask) > 0.5, ellipse(*lung) & ~ellipse(*HEART)) > 0.85
    assert seen.masks[2].any()


def test_probabilities_are_of_the_agreed_type_and_range():
    seen = look(picture_of(drawn_chest())[0])

    assert (seen.masks.shape, seen.masks.dtype) == ((3, SIDE_PX, SIDE_PX), np.float32)
    assert 0 <= seen.masks.min() <= seen.masks.max() <= 1
    assert seen.view.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "image",
    [
        4095 - drawn_chest(),
        drawn_hand(),
        np.zeros((300, 300), np.float32),
        np.random.default_rng(6).uniform(0, 4095, (400, 300)).astype(np.float32),
    ],
    ids=["a negative", "five bars", "nothing", "noise"],
)
def test_what_is_no_chest_is_none(image):
    seen = look(picture_of(image)[0])

    assert seen.view.argmax() == 2
    assert not seen.masks.any()
