"""The machine `lung-ct`: lung volumes, densities and the emphysema index from a chest CT and its segmentation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from radbus_contracts.errors import PermanentError

from radbus_machines.ct import has_contrast, hounsfield, sharp_kernel
from radbus_machines.manifest import MachineManifest
from radbus_machines.protocol import Array, Model, Progress
from radbus_machines.types import (
    Code,
    Finding,
    KeyFrame,
    LabelMap,
    MachineOutput,
    Measurement,
    Segment,
    Site,
    Value,
    Volume,
)

RIGHT_LUNG, LEFT_LUNG, AIRWAYS = 1, 2, 3
LOW_ATTENUATION_HU = -950
EMPHYSEMA_PERCENT = 5.0
NOT_LOOKED_FOR = (
    "Not looked for: nodules, fluid in the pleural space. Of masses on the chest wall or the mediastinum a part may be "
    "missing from the lung without a remark."
)

_POINTED_AT = 2  # the weight of a key frame that something is said of
_UNUSABLE = frozenset({"not_a_chest", "too_few_slices"})
_NO_INDEX = frozenset({"contrast", "noise_or_sharp_kernel"})
_TOLD = ("one_lung", "collapsed_or_consolidated", "dense_part", "dent_at_wall", "gas_outside_lungs")
"""The remarks on the patient, not on the images: a use case's condition can ask for them."""
_DOUBTS = ("collapsed_or_consolidated", "one_lung", "dense_part", "dent_at_wall")
_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
_LUNG = Code("39607008", "SCT", "Lung")
_SEGMENTS = (
    Segment(RIGHT_LUNG, "Right lung", _STRUCTURE, _LUNG, (224, 97, 76), Code("24028007", "SCT", "Right")),
    Segment(LEFT_LUNG, "Left lung", _STRUCTURE, _LUNG, (76, 168, 224), Code("7771000", "SCT", "Left")),
    Segment(
        AIRWAYS,
        "Trachea and main bronchi",
        _STRUCTURE,
        Code("110726009", "SCT", "Trachea and bronchus"),
        (240, 206, 90),
    ),
)
_BOTH = Code("51440002", "SCT", "Right and left")
_EMPHYSEMA = Code("87433001", "SCT", "Pulmonary emphysema")
_VOLUME = Code("118565006", "SCT", "Volume")
_DENSITY = Code("112031", "DCM", "Attenuation Coefficient")
_INDEX = Code("LAA-950", "99RADBUS", "Lung voxels below -950 HU")
_VOLUME_WORDS = (
    "Voxels of the segmented lung times the voxel's volume; vessels and lesions within the lung count, trachea and "
    "main bronchi do not."
)
_DENSITY_WORDS = "Mean CT number of the segmented lung, vessels and lesions included (compare Coxson 1999)."
_INDEX_WORDS = (
    "Share of the segmented lung's voxels below -950 HU, the threshold that matched macroscopic and microscopic "
    "emphysema on thin unenhanced inspiratory CT (Gevenois 1995, 1996; see Lynch 2015, Fleischner Society)."
)


class LungCtError(PermanentError):
    """The model gave remarks that are not a JSON list of code and text, or that point to no frame of the volume."""


@dataclass(frozen=True, slots=True)
class _Lung:
    """Counts of one lung, by frame: voxels, voxels below -950 HU, and the sum of HU."""

    voxels: NDArray[np.int64]
    low: NDArray[np.int64]
    sum_hu: NDArray[np.int64]

    def __add__(self, other: _Lung) -> _Lung:
        return _Lung(self.voxels + other.voxels, self.low + other.low, self.sum_hu + other.sum_hu)

    @property
    def count(self) -> int:
        return int(self.voxels.sum())

    @property
    def mean_hu(self) -> float:
        return float(self.sum_hu.sum()) / self.count

    @property
    def index(self) -> float:
        return 100.0 * float(self.low.sum()) / self.count


class LungCt:
    """Measure the lungs on a chest CT."""

    def __init__(self, manifest: MachineManifest) -> None:
        self._manifest = manifest

    async def infer(self, volume: Volume, model: Model, progress: Progress) -> MachineOutput:
        """Segment the lungs with the model and measure them; say so when the images do not allow it.

        Raises:
            LungCtError: The model's remarks cannot be read.
        """
        if volume.modality != "CT" or volume.voxels.ndim != 3:
            return _unusable({"not_a_chest": "The series is not a CT volume."})
        voxels = await asyncio.to_thread(hounsfield, volume.voxels)
        progress(0.05)
        inputs: dict[str, Array] = {
            "VOLUME": voxels,
            "SPACING_MM": np.array(volume.geometry.spacing_mm, np.float32),
            "DIRECTION": np.ascontiguousarray(volume.geometry.direction, np.float32).reshape(9),
        }
        shapes = {"LABELS": (voxels.shape, np.dtype(np.uint8)), "REMARKS": ((1,), np.dtype(object))}
        outputs = await model.infer(inputs, shapes)
        progress(0.8)
        remarks = _read_remarks(outputs["REMARKS"][0]) | _attribute_remarks(volume.attributes)
        if _UNUSABLE & remarks.keys():
            return _unusable(remarks)
        places = _read_places(outputs["REMARKS"][0], frames=len(voxels))
        output = await asyncio.to_thread(_measure, volume, voxels, outputs["LABELS"], remarks)
        progress(1.0)
        return replace(output, key_frames=_merged(output.key_frames, places))


def _read_remarks(content: object) -> dict[str, str]:
    """Read the model's remarks; sentences of one code are joined."""
    if not isinstance(content, (bytes, str)):
        raise LungCtError(f"REMARKS: expected JSON text, got {type(content).__name__}")
    remarks: dict[str, str] = {}
    try:
        for remark in json.loads(content):
            code, text = str(remark["code"]), str(remark["text"])
            remarks[code] = f"{remarks[code]} {text}" if code in remarks else text
    except (ValueError, TypeError, KeyError) as error:
        raise LungCtError('REMARKS: expected a JSON list of {"code", "text"}') from error
    return remarks


def _read_places(content: bytes | str, *, frames: int) -> dict[int, str]:
    """Read where the model's remarks point to: the title by frame."""
    pointing = [remark for remark in json.loads(content) if remark.get("frame") is not None]
    if not all(isinstance(remark["frame"], int) and 0 <= remark["frame"] < frames for remark in pointing):
        raise LungCtError(f"REMARKS: expected frames from 0 to {frames - 1} in the JSON list")
    return {remark["frame"]: str(remark.get("title") or remark["text"]) for remark in pointing}


def _merged(key_frames: tuple[KeyFrame, ...], places: Mapping[int, str]) -> tuple[KeyFrame, ...]:
    """Put the places among the key frames; where both mean one frame, the place's title stands."""
    merged = {key.frame: key for key in key_frames} | {
        frame: KeyFrame(frame, title, _POINTED_AT) for frame, title in places.items()
    }
    return tuple(merged[frame] for frame in sorted(merged))


def _attribute_remarks(attributes: Mapping[str, object]) -> dict[str, str]:
    remarks = {}
    if has_contrast(attributes):
        remarks["contrast"] = "The header names a contrast agent, which raises the density of the lungs."
    if kernel := sharp_kernel(attributes):
        remarks["noise_or_sharp_kernel"] = (
            f"The reconstruction kernel {kernel!r} is sharp; its noise puts normal lung below -950 HU."
        )
    return remarks


def _unusable(remarks: Mapping[str, str]) -> MachineOutput:
    finding = Finding("emphysema", None, "Emphysema was not judged.", _EMPHYSEMA)
    text = " ".join(text for code, text in remarks.items() if code in _UNUSABLE)
    limits = tuple(remarks.values())
    return MachineOutput(f"{text} No lung was measured.", findings=(finding,), limits=limits, usable=False)


def _measure(
    volume: Volume, voxels: NDArray[np.int16], labels: NDArray[np.uint8], remarks: Mapping[str, str]
) -> MachineOutput:
    lungs = {"right": _count(voxels, labels, RIGHT_LUNG), "left": _count(voxels, labels, LEFT_LUNG)}
    total = lungs["right"] + lungs["left"]
    if not total.count:
        return _unusable({"not_a_chest": "No lung was found."})
    with_index = not _NO_INDEX & remarks.keys()
    measurements = tuple(_measurements(lungs, total, volume.geometry.voxel_volume_ml, with_index=with_index))
    values: dict[str, Value] = {measurement.name: measurement.value for measurement in measurements}
    values |= {code: code in remarks for code in _TOLD}
    limits = list(remarks.values())
    if not with_index:
        limits.append("The emphysema index is not given: it would not be comparable with its reference.")
    limits.append(NOT_LOOKED_FOR)
    return MachineOutput(
        summary=_summary(values, remarks),
        values=values,
        label_maps=(LabelMap("lungs", labels, _SEGMENTS),),
        measurements=measurements,
        findings=(_emphysema(total.index if with_index else None, thick="thick_slices" in remarks),),
        key_frames=_key_frames(total, volume, with_index=with_index),
        limits=tuple(limits),
    )


def _count(voxels: NDArray[np.int16], labels: NDArray[np.uint8], label: int) -> _Lung:
    """Count frame by frame, so that no copy of the whole volume is made."""
    counts = np.zeros((3, len(voxels)), np.int64)
    for k, (plane, hu) in enumerate(zip(labels, voxels, strict=True)):
        values = hu[plane == label]
        counts[:, k] = values.size, np.count_nonzero(values < LOW_ATTENUATION_HU), values.sum(dtype=np.int64)
    return _Lung(*counts)


def _measurements(
    lungs: Mapping[str, _Lung], total: _Lung, voxel_ml: float, *, with_index: bool
) -> Iterator[Measurement]:
    """Give the measurements of each lung and of both, named so that conditions of use cases can refer to them."""
    parts = [
        ("right_lung", "right_", "Right lung", lungs["right"], RIGHT_LUNG),
        ("left_lung", "left_", "Left lung", lungs["left"], LEFT_LUNG),
        ("total_lung", "", "Both lungs", total, None),
    ]
    for whole, prefix, title, lung, segment in parts:
        site = Site(_LUNG, _BOTH) if segment is None else None
        ml = round(lung.count * voxel_ml, 1)
        yield Measurement(f"{whole}_volume_ml", f"{title}: volume", ml, "mL", _VOLUME, _VOLUME_WORDS, segment, site)
        if not lung.count:
            continue
        hu = round(lung.mean_hu, 1)
        name = f"{prefix}mean_lung_density_hu"
        yield Measurement(name, f"{title}: mean density", hu, "[hnsf'U]", _DENSITY, _DENSITY_WORDS, segment, site)
        if with_index:
            name, percent = f"{prefix}emphysema_index", round(lung.index, 2)
            yield Measurement(name, f"{title}: emphysema index", percent, "%", _INDEX, _INDEX_WORDS, segment, site)


def _emphysema(index: float | None, *, thick: bool) -> Finding:
    if index is None:
        text = "Emphysema was not judged: the images do not suit densitometry."
        return Finding("emphysema", None, text, _EMPHYSEMA)
    above = index >= EMPHYSEMA_PERCENT
    text = (
        f"{index:.1f} % of the lung is below -950 HU, {'at or above' if above else 'less than'} the "
        f"{EMPHYSEMA_PERCENT:.0f} % that studies take for emphysema on CT (such as Amaza 2021). A density measurement "
        "alone does not diagnose emphysema; compare with the images."
    )
    if thick and not above:
        return Finding("emphysema", None, f"{text} Thick slices hide small clusters.", _EMPHYSEMA)
    return Finding("emphysema", above, text, _EMPHYSEMA)


def _key_frames(total: _Lung, volume: Volume, *, with_index: bool) -> tuple[KeyFrame, ...]:
    """Choose five frames through the lungs, and the one with the largest share of low attenuation."""
    frames = np.flatnonzero(total.voxels)
    zones = [("apex", 0), ("upper zone", 1), ("middle zone", 1), ("lower zone", 1), ("base", 0)]
    upwards = float(volume.geometry.direction[2, 0])
    chosen: dict[int, KeyFrame] = {}
    for part, (zone, weight) in zip((0.1, 0.3, 0.5, 0.7, 0.9), zones if upwards < 0 else zones[::-1], strict=True):
        frame = int(frames[round(part * (len(frames) - 1))])
        chosen[frame] = KeyFrame(frame, f"Lungs, {zone}" if abs(upwards) > 0.7 else "Lungs", weight)
    large = total.voxels >= 0.25 * total.voxels.max()
    shares = np.where(large, total.low / np.maximum(total.voxels, 1), 0.0)
    if with_index and shares.max() > 0.01:
        frame = int(shares.argmax())
        title = f"Most low attenuation: {100 * shares[frame]:.0f} % of the lung here below -950 HU"
        chosen[frame] = KeyFrame(frame, title, _POINTED_AT)
    return tuple(chosen[frame] for frame in sorted(chosen))


def _summary(values: Mapping[str, Value], remarks: Mapping[str, str]) -> str:
    part = " of the imaged part" if "field_of_view_cut" in remarks else ""
    volumes = (
        f"Lung volume{part} {values['total_lung_volume_ml']:.0f} mL (right {values['right_lung_volume_ml']:.0f} mL, "
        f"left {values['left_lung_volume_ml']:.0f} mL), mean density {values['mean_lung_density_hu']:.0f} HU."
    )
    index = "The emphysema index cannot be judged on these images."
    if "emphysema_index" in values:
        index = f"{values['emphysema_index']:.1f} % of the lung is below -950 HU (emphysema index)."
    return " ".join([volumes, index, *(remarks[code] for code in _DOUBTS if code in remarks)])
