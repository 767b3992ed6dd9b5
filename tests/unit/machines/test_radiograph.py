"""How radiographs become the picture that their network sees, and what it marks goes back."""

from __future__ import annotations

import numpy as np
from radbus_machines.radiograph import SIDE_PX, collimated_field, picture_of

RNG = np.random.default_rng(1)


def speckled(rows: int, columns: int) -> np.ndarray:
    return RNG.uniform(100, 4000, (rows, columns)).astype(np.float32)


def test_a_picture_is_a_square_from_0_to_1_with_black_margins_where_the_radiograph_is_longer_than_wide() -> None:
    picture, box = picture_of(speckled(1000, 500))

    assert picture.shape == (SIDE_PX, SIDE_PX)
    assert picture.dtype == np.float32
    assert box.place == (0, 256, 64, 192)
    assert (picture[:, :64] == 0).all()
    assert (picture[:, 192:] == 0).all()
    assert 0.4 < picture[:, 64:192].mean() < 0.6


def test_a_shutter_with_a_marker_on_it_is_no_part_of_the_field() -> None:
    grey = speckled(800, 600)
    grey[:100] = grey[:, :50] = grey[:, 580:] = 4095
    grey[20:60, 300:330] = 0

    assert collimated_field(grey) == (100, 800, 50, 580)


def test_an_image_of_one_grey_is_taken_as_a_whole() -> None:
    picture, box = picture_of(np.full((300, 400), 7, np.float32))

    assert box.field == (0, 300, 0, 400)
    assert (picture == 0).all()


def test_pixels_that_are_longer_than_wide_keep_their_shape_in_the_picture() -> None:
    _, box = picture_of(speckled(500, 1000), spacing_mm=(0.2, 0.1))

    assert box.place == (0, 256, 0, 256)


def test_what_is_marked_in_the_picture_goes_back_to_its_place_in_the_radiograph() -> None:
    grey = speckled(1200, 1000)
    grey[:, :100] = 0
    _, box = picture_of(grey)
    mask = np.zeros((1200, 1000), np.float32)
    mask[300:700, 200:500] = 1

    back = box.enlarged(box.shrunk(mask)) > 0.5

    assert np.count_nonzero(back != (mask > 0.5)) < 0.02 * mask.sum()


def test_an_image_that_is_smaller_than_the_picture_is_enlarged() -> None:
    picture, box = picture_of(speckled(64, 64))

    assert box.place == (0, 256, 0, 256)
    assert picture.std() > 0.2
