"""The network that sees exactly what is drawn in the drawn chest: for what is around the real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from radbus_machines.types import Distances, Frame, Geometry, Projection, Volume
from radbus_testing.drawn_chest import COLUMNS, HEART, LEFT, RIGHT, ROWS, SPACING_MM, ellipse


@dataclass
class NetworkThatSees:
    """Marks what was drawn, where the picture shows it; a negative is no chest to it."""

    view: tuple[float, float, float] = (0.98, 0.01, 0.01)
    without: frozenset[int] = frozenset()
    heart: tuple[float, float, float, float] = HEART
    first_column: int = 20  # of the drawn chest that the picture shows
    asked: int = 0

    async def infer(
        self, inputs: Mapping[str, NDArray[Any]], output_shapes: Mapping[str, tuple[tuple[int, ...], Any]]
    ) -> dict[str, NDArray[np.float32]]:
        self.asked += 1
        picture = inputs["IMAGE"][0, 0]
        assert inputs["IMAGE"].shape == (1, 1, 256, 256)
        assert inputs["IMAGE"].dtype == np.float32
        shown = self._seen(picture)
        masks = np.zeros(output_shapes["MASKS"][0], np.float32)
        is_chest = float(picture[shown[2]].mean()) > float(picture[shown[0]].mean())
        for number, mask in enumerate(shown):
            masks[0, number] = mask if is_chest and number not in self.without else 0
        view = self.view if is_chest else (0.01, 0.01, 0.98)
        return {"MASKS": masks, "VIEW": np.array([view], np.float32)}

    def _seen(self, picture: NDArray[np.float32]) -> list[NDArray[np.bool_]]:
        lit = np.flatnonzero(picture.any(axis=0))
        scale = 256 / ROWS
        start = int(lit[0])
        heart = ellipse(*self.heart)
        sides = [ellipse(*RIGHT) & ~heart, ellipse(*LEFT) & ~heart, heart]
        seen = []
        for mask in sides:
            rows = (np.arange(256) / scale).astype(int).clip(0, ROWS - 1)
            columns = (self.first_column + (np.arange(256) - start) / scale).astype(int)
            inside = (columns >= self.first_column) & (columns < COLUMNS)
            seen.append(mask[rows][:, columns.clip(0, COLUMNS - 1)] & inside)
        return seen


def radiograph(
    image: NDArray[np.float32],
    *,
    towards: tuple[str, str] | None = ("L", "F"),
    inverted: bool = False,
    distances: Distances = Distances.PATIENT,
    **attributes: object,
) -> Volume:
    """Put a stored image into a volume, as the worker does."""
    direction = np.array(((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))).T
    return Volume(
        np.asarray(image[None], np.float32),
        Geometry((1.0, SPACING_MM, SPACING_MM), (0.0, 0.0, 0.0), direction),
        (Frame("2.25.1", "1.2.840.10008.5.1.4.1.1.1.1", (0.0, 0.0, 0.0)),),
        "DX",
        {"ViewPosition": "PA", **attributes},
        projection=Projection(towards, inverted, linear=False, distances=distances),
    )
