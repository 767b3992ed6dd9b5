"""Which view of a chest a radiograph is: by what the header says and by what the network sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

_SURE = 0.5
_CODED = {
    "272479007": "PA",
    "R-10214": "PA",
    "399348003": "AP",
    "R-10206": "AP",
    "399067008": "LATERAL",
    "399173006": "LATERAL",
    "R-10236": "LATERAL",
    "399198007": "LATERAL",
    "R-10232": "LATERAL",
}
"""ViewCodeSequence (CID 4010) in SNOMED CT and, as older images have it, SNOMED RT."""
_WRITTEN = {
    "LL": "LATERAL",
    "RL": "LATERAL",
    "LLD": "DECUBITUS",
    "RLD": "DECUBITUS",
    "LAT": "LATERAL",
    "LATERAL": "LATERAL",
    "PA": "PA",
    "AP": "AP",
}
"""ViewPosition (PS3.3 C.8.1.1); a patient who lies on a side (LLD, RLD) is still seen from front or back."""


class Seen(StrEnum):
    """What the network tells apart, in the order of its output."""

    FRONTAL = "frontal"
    LATERAL = "lateral"
    NO_CHEST = "not a chest"


@dataclass(frozen=True, slots=True)
class View:
    """A view: `said` is PA, AP, DECUBITUS, LATERAL or empty by the header, `seen` what the network sees, how surely."""

    said: str
    seen: Seen
    probability: float

    @classmethod
    def of(cls, attributes: Mapping[str, object], probabilities: NDArray[np.float32]) -> View:
        """Read it from granted header elements and the network's probabilities [3]."""
        best = int(np.argmax(probabilities))
        return cls(_said(attributes), list(Seen)[best], float(probabilities[best]))

    @property
    def is_frontal(self) -> bool:
        """Tell whether it can be measured: the image decides, since headers are often wrong about it."""
        return self.seen is Seen.FRONTAL and self.probability >= _SURE

    @property
    def name(self) -> str:
        """Name a frontal view: PA, AP or decubitus where the header says it, else frontal."""
        match self.said:
            case "PA" | "AP":
                return self.said
            case "DECUBITUS":
                return "decubitus"
            case _:
                return "frontal"


def _said(attributes: Mapping[str, object]) -> str:
    written = str(attributes.get("ViewPosition") or "").strip().upper()
    if written:
        return _WRITTEN.get(written, "")
    codes = attributes.get("ViewCodeSequence")
    for item in codes if isinstance(codes, list) else ():
        if isinstance(item, Mapping) and (view := _CODED.get(str(item.get("CodeValue")))):
            return view
    return ""
