"""The machine `chest-xray`: view, lung fields, cardiothoracic ratio and opacity of the lungs on a chest radiograph."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radbus_machines.chest_xray.heart_and_lungs import Masks, clipped, contrast, heart_width, opacities, thorax_width
from radbus_machines.chest_xray.judged import Judged
from radbus_machines.chest_xray.views import Seen, View
from radbus_machines.chest_xray.words import frontal_output, unusable_output
from radbus_machines.hanging import Hanging
from radbus_machines.manifest import MachineManifest
from radbus_machines.protocol import Model, Progress
from radbus_machines.radiograph import SIDE_PX, Letterbox, picture_of
from radbus_machines.types import MachineOutput, Projection, Volume

_SHAPES = {"MASKS": ((1, 3, SIDE_PX, SIDE_PX), np.dtype(np.float32)), "VIEW": ((1, 3), np.dtype(np.float32))}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the network said of a radiograph, shown to it as `picture`."""

    picture: NDArray[np.float32]
    box: Letterbox
    masks: Masks
    view: View

    @property
    def fits(self) -> bool:
        """Tell whether it is a frontal chest whose lungs are darker than the heart, as they are on every radiograph."""
        right, left, heart = self.masks.picture
        lungs = right | left
        if not (self.view.is_frontal and lungs.any()):
            return False
        return not heart.any() or float(np.median(self.picture[lungs])) < float(np.median(self.picture[heart]))


class ChestXray:
    """Measure heart and lungs on one frontal chest radiograph."""

    def __init__(self, manifest: MachineManifest) -> None:
        self._manifest = manifest

    async def infer(self, volume: Volume, model: Model, progress: Progress) -> MachineOutput:
        """Judge a radiograph; say so when it is none, no chest, or no frontal view."""
        projection = volume.projection
        if projection is None:
            return unusable_output("The series is not a radiograph.")
        hanging = Hanging.of(projection.towards)
        grey = await asyncio.to_thread(_lungs_dark, volume, hanging)
        spacing = hanging.spacing((volume.geometry.spacing_mm[1], volume.geometry.spacing_mm[2]))
        progress(0.1)
        answer = await self._asked(grey, spacing, volume, model)
        turned = False
        if not answer.fits and answer.view.seen is not Seen.LATERAL:
            other = await self._asked(-grey, spacing, volume, model)
            turned = other.fits
            answer = other if turned else answer
        progress(0.6)
        if not answer.view.is_frontal:
            return unusable_output(_why_not(answer.view))
        judged = await asyncio.to_thread(_judged, volume, hanging, answer, grey_turned=turned)
        progress(1.0)
        if not judged.masks.lungs_found:
            return unusable_output("No lungs were found on the image.")
        return await asyncio.to_thread(frontal_output, judged)

    async def _asked(
        self, grey: NDArray[np.float32], spacing: tuple[float, float], volume: Volume, model: Model
    ) -> _Answer:
        picture, box = await asyncio.to_thread(picture_of, grey, spacing_mm=spacing)
        outputs = await model.infer({"IMAGE": np.ascontiguousarray(picture[None, None])}, _SHAPES)
        masks = await asyncio.to_thread(Masks.of, outputs["MASKS"][0], box)
        return _Answer(picture, box, masks, View.of(volume.attributes, outputs["VIEW"][0]))


def _lungs_dark(volume: Volume, hanging: Hanging) -> NDArray[np.float32]:
    """Return the radiograph as it is hung, its values such that more tissue is more."""
    projection = volume.projection or Projection()
    grey = np.nan_to_num(np.asarray(volume.voxels[0], np.float32))
    if projection.linear:
        grey = np.log1p(np.maximum(grey - grey.min(), 0.0))
    return np.ascontiguousarray(hanging.hung(-grey if projection.inverted else grey))


def _why_not(view: View) -> str:
    if view.seen is Seen.NO_CHEST:
        return "The image does not look like a chest radiograph."
    if view.seen is Seen.LATERAL:
        return "The image is a lateral view of the chest; heart and lungs are measured on frontal views."
    return "It cannot be told whether the image is a frontal view of a chest."


def _judged(volume: Volume, hanging: Hanging, answer: _Answer, *, grey_turned: bool) -> Judged:
    masks = answer.masks
    return Judged(
        volume=volume,
        projection=volume.projection or Projection(),
        hanging=hanging,
        view=answer.view,
        masks=masks,
        box=answer.box,
        heart=heart_width(masks),
        thorax=thorax_width(masks),
        opacities=opacities(answer.picture, masks),
        contrast=contrast(answer.picture, masks),
        clipped=clipped(volume.voxels[0], hanging.stored(masks.full[0] | masks.full[1])),
        grey_turned=grey_turned,
    )
