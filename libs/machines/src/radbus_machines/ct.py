"""What machines for CT share: HU as int16, and what the header says of contrast medium and kernel."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_NO_CONTRAST = frozenset({"", "NO", "NONE", "N", "WITHOUT", "NATIVE", "UNENHANCED"})
_SHARP_FC_TENS = frozenset({3, 5, 8})


def has_contrast(attributes: Mapping[str, object]) -> bool:
    """Tell whether ContrastBolusAgent names one; some write there that there was none."""
    return str(attributes.get("ContrastBolusAgent") or "").strip().upper() not in _NO_CONTRAST


def sharp_kernel(attributes: Mapping[str, object]) -> str | None:
    """Return the kernel's name when it is sharper than the standard ones."""
    kernel = attributes.get("ConvolutionKernel")
    names = [str(name) for name in kernel] if isinstance(kernel, (list, tuple)) else [str(kernel or "")]
    return names[0] if any(is_sharp_kernel(name) for name in names) else None


def is_sharp_kernel(name: str) -> bool:
    """Tell by the makers' names whether a kernel is sharper than the standard ones that densitometry asks for.

    GE by word, Philips by letter (D, E, L, Y*), Siemens by number from 50, Canon by FC number: 30 to 39, 50 to 59
    and 80 to 89; 60 to 69 are made for the brain.
    """
    name = name.strip().upper()
    if re.fullmatch(r"(BONE|BONEPLUS|LUNG|EDGE|ULTRA|HD .*|SHARP|[DEL]|Y[A-Z]?)", name):
        return True
    if match := re.fullmatch(r"FC(\d{2}).*", name):
        return int(match[1]) // 10 in _SHARP_FC_TENS
    match = re.fullmatch(r"[A-Z]{1,2}(\d{2})[A-Z]?.*", name)
    return match is not None and int(match[1]) >= 50


def hounsfield(voxels: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.int16]:
    """Return voxels as int16 HU: rounded, within the type's limits, NaN as air."""
    if voxels.dtype == np.int16:
        return np.ascontiguousarray(voxels, np.int16)
    limits = np.iinfo(np.int16)
    clipped = np.clip(np.rint(np.nan_to_num(voxels, nan=-1024.0)), limits.min, limits.max)
    return np.asarray(clipped, np.int16)
