"""All that was measured on one frontal chest radiograph."""

from __future__ import annotations

from dataclasses import dataclass

from radbus_machines.chest_xray.heart_and_lungs import Masks, Opacities, Width, shorter_lung
from radbus_machines.chest_xray.views import View
from radbus_machines.hanging import Hanging
from radbus_machines.radiograph import Letterbox
from radbus_machines.types import Distances, Projection, Volume


@dataclass(frozen=True, slots=True)
class Judged:
    """What was measured on a frontal view, as it is hung; None where it could not be."""

    volume: Volume
    projection: Projection
    hanging: Hanging
    view: View
    masks: Masks
    box: Letterbox
    heart: Width | None
    thorax: Width | None
    opacities: Opacities | None
    contrast: float | None
    clipped: float
    grey_turned: bool

    @property
    def ratio(self) -> float | None:
        """Return the cardiothoracic ratio, where both borders of the chest and the lungs' lower ends are seen."""
        if self.heart is None or self.thorax is None or "sides" in self.cut or shorter_lung(self.masks):
            return None
        return self.heart.pixels / self.thorax.pixels

    @property
    def comparable(self) -> Opacities | None:
        """Return how bright the lungs are, where both are seen down to the diaphragm."""
        return None if shorter_lung(self.masks) else self.opacities

    @property
    def chest_mm(self) -> float | None:
        """Return the chest's width, where it is seen whole and the image has a spacing."""
        if self.thorax is None or "sides" in self.cut or self.projection.distances is Distances.UNKNOWN:
            return None
        return self.thorax.pixels * self.hanging.spacing(self.volume.geometry.spacing_mm[1:])[1]

    @property
    def cut(self) -> frozenset[str]:
        """Name the edges of the field that cut off lung."""
        return self.masks.cut(self.box)
