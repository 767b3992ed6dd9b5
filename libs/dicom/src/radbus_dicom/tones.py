"""How modality values are shown from black to white: a window or a table of the header (PS3.3 C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Window:
    """Modality values shown from black to white, in a line or, where `sigmoid`, in a curve (PS3.3 C.11.2.1.2, .3.1)."""

    centre: float
    width: float
    sigmoid: bool = False

    def shown(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return what is shown of modality values, from 0 to 1."""
        scaled = (np.asarray(values, np.float32) - self.centre) / self.width
        if self.sigmoid:
            return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * scaled, -60.0, 60.0))), np.float32)
        return np.asarray(np.clip(scaled + 0.5, 0.0, 1.0), np.float32)


@dataclass(frozen=True, slots=True)
class Curve:
    """A VOI LUT (PS3.3 C.11.2.1.1): `entries` of `bits` bits for the modality values from `first` on."""

    first: int
    bits: int
    entries: NDArray[np.uint16]

    def shown(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return what is shown of modality values, from 0 to 1; beyond the table's ends, its ends."""
        places = np.clip(np.rint(np.asarray(values, np.float32)) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[places.astype(np.intp)] / np.float32(2**self.bits - 1), np.float32)


Tone: TypeAlias = Window | Curve


def tone_of(ds: Dataset) -> Tone | None:
    """Return the first table of a header, else its first window; None where it has none that can be used."""
    for item in ds.get("VOILUTSequence") or []:
        if (curve := _curve(item)) is not None:
            return curve
    centre, width = (_first_number(ds.get(f"Window{part}")) for part in ("Center", "Width"))
    if centre is None or width is None or width <= 0:
        return None
    return Window(centre, width, sigmoid=ds.get("VOILUTFunction") == "SIGMOID")


def _curve(item: Dataset) -> Curve | None:
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    if descriptor is None or data is None or len(descriptor) != 3:
        return None
    count, first, bits = (int(value) for value in descriptor)
    if not 8 <= bits <= 16:
        return None
    entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
    if len(entries) != (count or 2**16) or entries.min() < 0 or entries.max() >= 2**bits:
        return None
    return Curve(first, bits, entries.astype(np.uint16))


def _first_number(value: object) -> float | None:
    try:
        return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, IndexError):
        return None
