"""Decode frames into a volume in modality units; for a process pool, so module-level and picklable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from radbus_dicom.codestreams import refuse_false_frames
from radbus_dicom.errors import PixelsNotDecodable, foreign_errors_as
from radbus_dicom.geometry import FrameSlot
from radbus_dicom.opening import read_inflated_dataset

VoxelArray: TypeAlias = "NDArray[np.int16] | NDArray[np.float32]"
_INT16 = np.iinfo(np.int16)


def decode_into(path: Path, slots: Sequence[FrameSlot], out: VoxelArray) -> None:
    """Decode the frames of one instance into `out` [frames, rows, columns], stored value x slope + intercept.

    An int16 `out` is saturated: what does not fit is padding outside the field of view.

    Raises:
        PixelsNotDecodable: No decoder knows the transfer syntax, the pixel data is damaged, or has another size.
    """
    with foreign_errors_as(PixelsNotDecodable):
        source: Path | Dataset = read_inflated_dataset(path) or path
        if source is path:
            refuse_false_frames(path, [slot.frame_number for slot in slots], (out.shape[1], out.shape[2]))
        for slot in slots:
            _write(_stored_values(source, slot.frame_number), slot, out)


def _stored_values(source: Path | Dataset, frame_number: int) -> NDArray[np.generic]:
    try:
        return pixel_array(source, index=frame_number - 1, raw=True)
    except NotImplementedError:
        raise PixelsNotDecodable("Expected a transfer syntax that can be decoded here; this one cannot.") from None
    except RuntimeError:  # what pydicom raises when every decoder it tried has failed
        raise PixelsNotDecodable("Expected pixel data that a decoder can read; it is damaged or rare.") from None


def _write(stored: NDArray[np.generic], slot: FrameSlot, out: VoxelArray) -> None:
    if stored.shape != out.shape[1:]:
        raise PixelsNotDecodable(f"Expected a frame of {out.shape[1:]} pixels; decoded one of {stored.shape}.")
    target = out[slot.index]
    if out.dtype != np.int16:
        np.multiply(stored, slot.rescale_slope, out=target, casting="unsafe")
        target += np.float32(slot.rescale_intercept)
        return
    values = stored.astype(np.int32)
    values *= int(slot.rescale_slope)
    values += int(slot.rescale_intercept)
    np.clip(values, _INT16.min, _INT16.max, out=values)
    target[...] = values
