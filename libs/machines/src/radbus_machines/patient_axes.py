"""Turn volumes to the patient's axes, so that models need not know how a series was taken."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

D = TypeVar("D", bound=np.generic)

# In the order of the turned array: growing superior, growing posterior, growing left (DICOM's z, y, x; PS3.3 C.7.6.2).
_PATIENT_AXES = (2, 1, 0)


@dataclass(frozen=True, slots=True)
class PatientAxes:
    """Which array axis runs along each patient axis, and whether it runs backwards; oblique ones by what is nearest."""

    order: tuple[int, int, int]
    backwards: tuple[bool, bool, bool]

    @classmethod
    def of(cls, direction: NDArray[np.floating[Any]]) -> PatientAxes:
        """Read the axes from a 3 x 3 matrix whose columns are the unit vectors of frame, row and column index."""
        best = max(
            itertools.permutations(range(3)),
            key=lambda order: sum(abs(direction[p, a]) for p, a in zip(_PATIENT_AXES, order, strict=True)),
        )
        signs = [bool(direction[p, a] < 0) for p, a in zip(_PATIENT_AXES, best, strict=True)]
        return cls((best[0], best[1], best[2]), (signs[0], signs[1], signs[2]))

    def turned(self, array: NDArray[D]) -> NDArray[D]:
        """Show an array [frames, rows, columns] as [superior, posterior, left], without copying it."""
        steps = tuple(slice(None, None, -1 if backwards else 1) for backwards in self.backwards)
        return array.transpose(self.order)[steps]

    def turned_back(self, array: NDArray[D]) -> NDArray[D]:
        """Show an array [superior, posterior, left] as [frames, rows, columns], without copying it."""
        steps = tuple(slice(None, None, -1 if backwards else 1) for backwards in self.backwards)
        inverse = [self.order.index(axis) for axis in range(3)]
        return array[steps].transpose(inverse)

    def stored_place(self, place: tuple[float, float, float], shape: tuple[int, ...]) -> tuple[float, float, float]:
        """Return frame, row and column, in an array of this shape, of a place [superior, posterior, left]."""
        stored = [0.0, 0.0, 0.0]
        for axis, backwards, index in zip(self.order, self.backwards, place, strict=True):
            stored[axis] = shape[axis] - 1 - index if backwards else index
        return stored[0], stored[1], stored[2]

    def spacing(self, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Put spacings of the array axes in the order of the patient axes."""
        return spacing_mm[self.order[0]], spacing_mm[self.order[1]], spacing_mm[self.order[2]]
