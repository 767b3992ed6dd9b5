"""Hang a radiograph as it is read: the head up and, on a frontal view, the patient's right at the image's left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

D = TypeVar("D", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Hanging:
    """How a stored image is turned: first rows and columns are swapped, then it is turned over, then mirrored."""

    swapped: bool = False
    upside_down: bool = False
    mirrored: bool = False

    @classmethod
    def of(cls, towards: tuple[str, str] | None) -> Hanging:
        """Read it from where rows and columns run to; an image that does not say it, is hung already."""
        if towards is None:
            return cls()
        across, down = towards
        swapped = across in ("F", "H")
        if swapped:
            across, down = down, across
        return cls(swapped, down == "H", across == "R")

    def hung(self, image: NDArray[D]) -> NDArray[D]:
        """Show a stored image [rows, columns] as it is hung, without copying it."""
        turned = image.T if self.swapped else image
        return turned[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]

    def stored(self, image: NDArray[D]) -> NDArray[D]:
        """Show an image as it is hung in the way of the stored one, without copying it."""
        turned = image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return turned.T if self.swapped else turned

    def stored_place(self, place: tuple[float, float], shape: tuple[int, int]) -> tuple[float, float]:
        """Return row and column in the stored image of a place in the hung one, which has this shape."""
        row, column = place
        row = shape[0] - 1 - row if self.upside_down else row
        column = shape[1] - 1 - column if self.mirrored else column
        return (column, row) if self.swapped else (row, column)

    def spacing(self, spacing_mm: tuple[float, float]) -> tuple[float, float]:
        """Put the spacing of stored rows and columns in the order of the hung ones."""
        return (spacing_mm[1], spacing_mm[0]) if self.swapped else spacing_mm
