"""Volumes and label maps in shared memory: small references that the pool's processes turn into arrays again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from radbus_machines.shared_blocks import attach
from radbus_machines.types import Frame, Geometry, LabelMap, Projection, Segment, Volume


@dataclass(frozen=True, slots=True)
class SharedVolume:
    """A volume whose voxels lie in the block of this name."""

    block: str
    shape: tuple[int, int, int]
    dtype: np.dtype[np.int16] | np.dtype[np.float32]
    geometry: Geometry
    frames: tuple[Frame, ...]
    modality: str
    attributes: Mapping[str, object]
    remarks: tuple[str, ...]
    photometric_interpretation: str = ""
    projection: Projection | None = None

    def voxels(self) -> NDArray[np.int16] | NDArray[np.float32]:
        """Attach to the block; the array is the block's memory."""
        if self.dtype == np.int16:
            return attach(self.block, self.shape, np.dtype(np.int16))
        return attach(self.block, self.shape, np.dtype(np.float32))

    def volume(self) -> Volume:
        """Attach to the block and return the whole volume."""
        return self.volume_of(self.voxels())

    def volume_to_draw(self) -> Volume:
        """Return the whole volume, which says how it is meant to be shown whatever its machine was granted."""
        attributes = {**self.attributes, "PhotometricInterpretation": self.photometric_interpretation}
        return replace(self.volume(), attributes=attributes)

    def volume_of(self, voxels: NDArray[np.int16] | NDArray[np.float32]) -> Volume:
        """Return the volume around an array that is attached already."""
        return Volume(
            voxels=voxels,
            geometry=self.geometry,
            frames=self.frames,
            modality=self.modality,
            attributes=self.attributes,
            remarks=self.remarks,
            projection=self.projection,
        )


@dataclass(frozen=True, slots=True)
class SharedLabels:
    """A label map whose labels lie in the block of this name."""

    block: str
    shape: tuple[int, ...]
    name: str
    segments: tuple[Segment, ...]

    def label_map(self) -> LabelMap:
        """Attach to the block and return the label map."""
        return LabelMap(self.name, attach(self.block, self.shape, np.dtype(np.uint8)), self.segments)
