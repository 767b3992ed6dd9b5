"""What goes into a machine and what comes out of it: arrays and values, never DICOM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Value = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a volume and the instance it came from."""

    sop_instance_uid: str
    sop_class_uid: str
    image_position_patient: tuple[float, float, float]
    instance_number: int | None = None
    frame_number: int = 1


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the voxels of a volume are in the patient (PS3.3 C.7.6.2.1.1; LPS, millimetres).

    `direction` is 3 x 3; its columns are the unit vectors along growing frame, row and column index, so that
    `position = origin_mm + direction @ (spacing_mm * (frame, row, column))`.
    """

    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: NDArray[np.float64]

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres; with a tilted gantry it is a slanted box."""
        frame, row, column = self.spacing_mm
        return frame * row * column * abs(float(np.linalg.det(self.direction))) / 1000.0


class Distances(StrEnum):
    """What a millimetre of a radiograph's spacing is one of (PS3.3 10.7.1.3)."""

    PATIENT = "patient"  # calibrated, or corrected for magnification
    DETECTOR = "detector"  # larger than in the patient
    UNKNOWN = "unknown"  # no spacing is given: 1 mm stands for it


@dataclass(frozen=True, slots=True)
class Projection:
    """How a radiograph is to be read, which has no place in the patient.

    `towards` names the patient's directions to which rows and columns run on, such as ("L", "F"), as PatientOrientation
    does (PS3.3 C.7.6.1.1.1); None where nobody said it. `inverted` says that low values are shown bright, `linear` that
    values are in proportion to the exposure and were not made for the eye (PS3.3 C.8.11.3.1.2).
    """

    towards: tuple[str, str] | None = None
    inverted: bool = False
    linear: bool = False
    distances: Distances = Distances.UNKNOWN


@dataclass(frozen=True, slots=True)
class Volume:
    """A series as an array: frames sorted along their normal, voxels in modality units (HU for CT).

    `voxels` is [frames, rows, columns], int16 where the modality values are whole numbers that fit, else float32.
    `attributes` holds only the header elements that the machine's manifest asks for, by keyword.
    `remarks` says in words what was odd about the series and yet no reason to refuse it.

    A radiograph is a volume of one frame with a `projection`; all that its `geometry` tells is the spacing.

    For a machine whose manifest declares several `channels` this is the first of them, whose geometry is that of all
    outputs; `channels` holds the others by name, each with a geometry of its own.
    """

    voxels: NDArray[np.int16] | NDArray[np.float32]
    geometry: Geometry
    frames: tuple[Frame, ...]
    modality: str
    attributes: Mapping[str, object] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    channels: Mapping[str, Volume] = field(default_factory=dict)
    projection: Projection | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where something is: a part of the body, and its side (Finding Site, PS3.16 TID 1411 and 1501)."""

    part: Code
    laterality: Code | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One label of a label map. `number` is its value in the array, from 1.

    What is no part of the body itself, such as a lesion, has a `site`.
    """

    number: int
    name: str
    category: Code
    kind: Code
    colour: tuple[int, int, int]
    laterality: Code | None = None
    site: Site | None = None


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Labels aligned with the volume's voxels: uint8 [frames, rows, columns], 0 is background."""

    name: str
    labels: NDArray[np.uint8]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number with its UCUM unit, its concept, and the words that define it with their source.

    It is of a `segment` of the output's, or else of a `site`.
    """

    name: str
    title: str
    value: float
    unit: str
    concept: Code
    definition: str
    segment: int | None = None
    site: Site | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something present, absent, or (None) not judged, in a sentence a radiologist would read."""

    name: str
    present: bool | None
    text: str
    code: Code | None = None


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A frame worth showing, by its index in the volume.

    All are drawn. Where there is room for some only, as on the page of a report, the weightiest are shown.
    """

    frame: int
    title: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A measured distance to be drawn over a frame, between two places in rows and columns of the pixels' middles."""

    frame: int
    start: tuple[float, float]
    end: tuple[float, float]
    text: str
    colour: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class MachineOutput:
    """All that a machine says of one volume.

    `summary` is the whole result in words. A machine that also gives an `impression` has the results API tell findings
    and impression apart, as radiologists' reports do.

    `limits` are sentences about what could not be judged; `usable` is False when the images do not allow an answer
    at all, and then `values` may be empty. Every value that a use case refers to is in `values` by its name.
    """

    summary: str
    values: Mapping[str, Value] = field(default_factory=dict)
    label_maps: tuple[LabelMap, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    key_frames: tuple[KeyFrame, ...] = ()
    limits: tuple[str, ...] = ()
    usable: bool = True
    lines: tuple[Line, ...] = ()
    impression: str = ""
