"""The machine `pass-through`: the same five rectangles for all images, to see that an installation works."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radbus_machines.manifest import MachineManifest
from radbus_machines.protocol import Model, Progress
from radbus_machines.types import Code, LabelMap, MachineOutput, Segment, Volume

_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
_LUNG = Code("39607008", "SCT", "Lung")
# From the outermost rectangle to the innermost.
_SEGMENTS = (
    Segment(1, "SpinalCord", _STRUCTURE, Code("2748008", "SCT", "Spinal cord"), (255, 0, 0)),
    Segment(1, "Lung_R", _STRUCTURE, _LUNG, (0, 200, 0), Code("24028007", "SCT", "Right")),
    Segment(1, "Lung_L", _STRUCTURE, _LUNG, (60, 120, 255), Code("7771000", "SCT", "Left")),
    Segment(1, "Heart", _STRUCTURE, Code("80891009", "SCT", "Heart"), (255, 200, 0)),
    Segment(1, "Esophagus", _STRUCTURE, Code("32849002", "SCT", "Esophagus"), (255, 0, 255)),
)


class PassThrough:
    """Answers without looking at the pixels."""

    def __init__(self, manifest: MachineManifest) -> None:
        self._manifest = manifest

    async def infer(self, volume: Volume, model: Model, progress: Progress) -> MachineOutput:  # noqa: ARG002
        """Label five rectangles, one within the other, on every frame."""
        shape = volume.voxels.shape
        label_maps = tuple(
            LabelMap(segment.name, _rectangle(shape, inset), (segment,))
            for inset, segment in enumerate(_SEGMENTS, start=1)
        )
        progress(1.0)
        return MachineOutput("Five rectangles; the images were not looked at.", label_maps=label_maps)


def _rectangle(shape: tuple[int, ...], inset: int) -> NDArray[np.uint8]:
    _, rows, columns = shape
    frame = np.zeros((rows, columns), np.uint8)
    frame[_middle(rows, inset), _middle(columns, inset)] = 1
    # All frames are the same one in memory.
    return np.broadcast_to(frame, shape)


def _middle(length: int, inset: int) -> slice:
    """Leave out so many sixths of a length, and keep one pixel at least."""
    kept = length - inset * length // (len(_SEGMENTS) + 1)
    start = (length - kept) // 2
    return slice(start, start + kept)
