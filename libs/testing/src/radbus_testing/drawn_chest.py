"""A frontal chest radiograph drawn of ellipses, whose widths and sides are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 600, 500
SPACING_MM = 0.6
RIGHT, LEFT, HEART = (260, 150, 190, 85), (260, 350, 190, 85), (340, 275, 95, 100)  # row, column, and half of each
OPAQUE = (340, 400, 140, 90)  # in the left lower zone
HEART_MM, THORAX_MM = 200 * SPACING_MM, 370 * SPACING_MM


def ellipse(row: float, column: float, height: float, width: float) -> NDArray[np.bool_]:
    """Return the pixels of one."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    inside: NDArray[np.bool_] = ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1
    return inside


def drawn_chest(*, opaque: bool = False) -> NDArray[np.float32]:
    """Draw it as it is hung, lungs dark, from 0 to 4095; the heart lies to the patient's left, as the opacity does."""
    image = np.full((ROWS, COLUMNS), 1500.0, np.float32)
    image[:, :20] = image[:, -20:] = 0
    image[ellipse(*RIGHT) | ellipse(*LEFT)] = 500
    if opaque:
        image[ellipse(*OPAQUE) & ellipse(*LEFT)] = 1300
    image[ellipse(*HEART)] = 2000
    noise = np.random.default_rng(3).normal(0, 10, image.shape)
    return np.asarray(np.clip(image + noise, 0, 4095), np.float32)


def filled_chest(side: str, share: float) -> NDArray[np.float32]:
    """Draw the chest with this share of one lung's height opaque from below, as fluid makes it."""
    image = drawn_chest()
    row, _, height, _ = lung = RIGHT if side == "right" else LEFT
    filled = ellipse(*lung) & ~ellipse(*HEART)
    filled[: round(row + height - 2 * height * share)] = False
    image[filled] += 1400
    return image


def drawn_hand() -> NDArray[np.float32]:
    """Draw what is no chest: five bright bars on black."""
    image = np.zeros((ROWS, COLUMNS), np.float32)
    for number in range(5):
        image[80:420, 60 + 80 * number : 110 + 80 * number] = 1800
    image[400:560, 60:430] = 1700
    return image + np.random.default_rng(4).uniform(0, 20, image.shape).astype(np.float32)
