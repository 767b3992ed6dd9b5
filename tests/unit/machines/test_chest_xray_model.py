"""The algorithm behind the Triton model `chest_xray`, against the drawn chest."""

from __future__ import annotations

import numpy as np
import pytest
from chest_xray_algorithm import look
from radbus_machines.radiograph import SIDE_PX, picture_of
from radbus_testing.drawn_chest import HEART, LEFT, RIGHT, drawn_chest, drawn_hand, ellipse, filled_chest


def drawn_lateral() -> np.ndarray:
    """Draw both lungs behind each other, the heart in front and the spine behind."""
    image = np.full((600, 500), 1500.0, np.float32)
    image[:, :20] = image[:, -20:] = 0
    image[ellipse(280, 260, 210, 150)] = 600
    image[ellipse(380, 190, 110, 80)] = 1900
    image[ellipse(520, 280, 90, 170)] = 2000
    image[:, 363:408] = 2100
    return image


def drawn_gut() -> np.ndarray:
    """Draw an abdomen with the spine and gas in the descending colon."""
    image = np.full((600, 500), 1500.0, np.float32)
    image[:, 225:275] = 2100
    image[ellipse(300, 400, 150, 28)] = 700
    return image


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


@pytest.mark.parametrize("share", [0.6, 0.8, 1.0])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_lung_beside_one_that_is_opaque_is_found_alone(side, share):
    picture, box = picture_of(filled_chest(side, share))

    seen = look(picture)

    opaque, seen_one = (0, 1) if side == "right" else (1, 0)
    assert seen.view.argmax() == 0
    assert not seen.masks[[opaque, 2]].any()
    lung = ellipse(*(RIGHT, LEFT)[seen_one]) & ~ellipse(*HEART)
    assert dice(box.enlarged(seen.masks[seen_one]) > 0.5, lung) > 0.85


@pytest.mark.parametrize(
    "image",
    [
        4095 - drawn_chest(),
        4095 - filled_chest("left", 1.0),
        4095 - filled_chest("right", 0.6),
        drawn_hand(),
        drawn_lateral(),
        drawn_gut(),
        np.zeros((300, 300), np.float32),
        np.random.default_rng(6).uniform(0, 4095, (400, 300)).astype(np.float32),
    ],
    ids=["negative", "white lung's negative", "fluid's negative", "five bars", "lateral", "gut", "nothing", "noise"],
)
def test_what_is_no_chest_is_none(image):
    seen = look(picture_of(image)[0])

    assert seen.view.argmax() == 2
    assert not seen.masks.any()
