"""The machine `head-ct`: hyperdense lesions, their volumes and sides, and the midline's shift from a head CT."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from radbus_machines.ct import hounsfield
from radbus_machines.head_ct_result import Result, read
from radbus_machines.manifest import MachineManifest
from radbus_machines.patient_axes import PatientAxes
from radbus_machines.protocol import Array, Model, Progress
from radbus_machines.types import (
    Code,
    Finding,
    KeyFrame,
    LabelMap,
    Line,
    MachineOutput,
    Measurement,
    Segment,
    Site,
    Value,
    Volume,
)

BRAIN, LESION = 1, 2
SHIFT_MM = 5.0
NOT_LOOKED_FOR = (
    "Not looked for: thin blood (in sulci and fissures, along the vault), parts below 0.5 mL, blood that is days old, "
    "infarcts, fractures."
)

_UNUSABLE = frozenset({"not_a_head", "too_few_slices"})
_WHITE, _YELLOW = (255, 255, 255), (240, 206, 90)
_LISTED = 5
_SHOWN = 4
_BRAIN = Code("12738006", "SCT", "Brain")
_INTRACRANIAL = Code("1101003", "SCT", "Intracranial")
_SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
_SEGMENTS = (
    Segment(
        BRAIN,
        "Brain and fluid around it",
        Code("123037004", "SCT", "Anatomical Structure"),
        _BRAIN,
        (92, 150, 200),
    ),
    Segment(
        LESION,
        "Hyperdense lesion",
        Code("49755003", "SCT", "Morphologically Abnormal Structure"),
        Code("52988006", "SCT", "Lesion"),
        (235, 64, 52),
        site=Site(_INTRACRANIAL),
    ),
)
_HYPERDENSE = Code("HYPERDENSE", "99RADBUS", "Hyperdense intracranial lesion")  # blood, and some tumours
_SHIFT = Code("MIDLINE-SHIFT", "99RADBUS", "Shift of the midline of the brain")
_VOLUME = Code("118565006", "SCT", "Volume")
_LESION_WORDS = (
    "Voxels of 50 to 90 HU in connected parts of at least 0.5 mL inside the skull, more than 2.5 mm from bone, without "
    "calcifications, sheets (falx, tentorium) and the venous sinus; clotted blood lies in this range (Parizel 2001)."
)
_SHIFT_WORDS = (
    "Distance of the middle between the lateral ventricles from the plane between the halves of the skull, where it is "
    "largest; from 5 mm on guidelines take it into account (Bullock 2006)."
)
_BRAIN_WORDS = "Voxels inside the skull below 150 HU, fluid included."


class HeadCt:
    """Look for fresh blood and a shift of the midline on a head CT without contrast."""

    def __init__(self, manifest: MachineManifest) -> None:
        self._manifest = manifest

    async def infer(self, volume: Volume, model: Model, progress: Progress) -> MachineOutput:
        """Find lesions and the midline with the model; say so when the images do not allow it.

        Raises:
            HeadCtError: The model's result cannot be read.
        """
        if volume.modality != "CT" or volume.voxels.ndim != 3:
            return _unusable({"not_a_head": "The series is not a CT volume."})
        axes = PatientAxes.of(volume.geometry.direction)
        voxels = await asyncio.to_thread(lambda: np.ascontiguousarray(axes.turned(hounsfield(volume.voxels))))
        progress(0.05)
        spacing = np.array(axes.spacing(volume.geometry.spacing_mm), np.float32)
        inputs: dict[str, Array] = {"VOLUME": voxels, "SPACING_MM": spacing}
        shapes = {"LABELS": (voxels.shape, np.dtype(np.uint8)), "RESULT": ((1,), np.dtype(object))}
        outputs = await model.infer(inputs, shapes)
        progress(0.9)
        result = read(outputs["RESULT"][0], volume)
        if _UNUSABLE & result.remarks.keys():
            return _unusable(result.remarks)
        labels = await asyncio.to_thread(lambda: np.ascontiguousarray(axes.turned_back(outputs["LABELS"])))
        progress(1.0)
        return _output(volume, labels, result, axes)


def _unusable(remarks: Mapping[str, str]) -> MachineOutput:
    text = " ".join(text for code, text in remarks.items() if code in _UNUSABLE)
    finding = Finding("hyperdense_lesion", None, "Blood was not looked for.", _HYPERDENSE)
    return MachineOutput(
        f"{text} Nothing was measured.", findings=(finding,), limits=(*remarks.values(),), usable=False
    )


def _output(volume: Volume, labels: NDArray[np.uint8], result: Result, axes: PatientAxes) -> MachineOutput:
    if result.lesions is None:
        labels[labels == LESION] = BRAIN  # found, and not to be trusted
    if not (labels > 0).any():
        return _unusable({"not_a_head": "No brain was found."})
    measurements = tuple(_measurements(volume, labels, result))
    values: dict[str, Value] = {each.name: each.value for each in measurements}
    if result.counted is not None:
        values["lesion_count"] = len(result.counted)
    return MachineOutput(
        summary=_summary(result),
        values=values,
        label_maps=(LabelMap("head", labels, _SEGMENTS),),
        measurements=measurements,
        findings=(_blood(result), _shifted(result)),
        key_frames=_key_frames(labels, result, axes),
        limits=(*result.remarks.values(), NOT_LOOKED_FOR),
        lines=tuple(_lines(labels, result, axes)),
    )


def _measurements(volume: Volume, labels: NDArray[np.uint8], result: Result) -> Iterator[Measurement]:
    voxel_ml = volume.geometry.voxel_volume_ml
    brain = round(float(np.count_nonzero(labels)) * voxel_ml, 1)
    yield Measurement(
        "brain_volume_ml", "Inside of the skull: volume", brain, "mL", _VOLUME, _BRAIN_WORDS, site=Site(_INTRACRANIAL)
    )
    if result.counted is not None:
        total = round(float(np.count_nonzero(labels == LESION)) * voxel_ml, 1)
        title = "Hyperdense lesions: volume"
        yield Measurement("lesion_volume_ml", title, total, "mL", _VOLUME, _LESION_WORDS, LESION)
        for number, lesion in enumerate(result.counted[:_LISTED], start=1):
            title = f"Lesion {number} ({_place(lesion.side)}): volume"
            volume_ml = round(lesion.volume_ml, 1)
            site = Site(_INTRACRANIAL, _SIDES.get(lesion.side))
            name = f"lesion_{number}_volume_ml"
            yield Measurement(name, title, volume_ml, "mL", _VOLUME, _LESION_WORDS, site=site)
    if result.shift_left_mm is not None:
        mm = round(abs(result.shift_left_mm), 1)
        yield Measurement("midline_shift_mm", "Midline: shift", mm, "mm", _SHIFT, _SHIFT_WORDS, site=Site(_BRAIN))


def _blood(result: Result) -> Finding:
    name = "hyperdense_lesion"
    if result.lesions is None:
        return Finding(name, None, "Blood was not looked for: the images do not allow it.", _HYPERDENSE)
    if not result.lesions and result.is_cut:
        text = "No hyperdense lesion was found in the imaged part of the brain; the rest of it was not seen."
        return Finding(name, None, text, _HYPERDENSE)
    if not result.lesions:
        text = "No hyperdense lesion of at least 0.5 mL was found. Smaller, thin and older blood is not looked for."
        return Finding(name, present=False, text=text, code=_HYPERDENSE)
    sides = " and ".join(sorted({_place(lesion.side) for lesion in result.lesions}))
    text = (
        f"{len(result.lesions)} hyperdense lesion(s), {sides}, together {_total(result):.1f} mL: fresh blood is as "
        "dense, and so are some tumours. Compare with the images."
    )
    return Finding(name, present=True, text=text, code=_HYPERDENSE)


def _shifted(result: Result) -> Finding:
    if result.shift_left_mm is None:
        text = "The midline was not judged: the ventricles are not seen on both sides."
        return Finding("midline_shift", None, text, _SHIFT)
    above = abs(result.shift_left_mm) >= SHIFT_MM
    text = (
        f"The midline lies {_shift_words(result.shift_left_mm)}, {'at or above' if above else 'less than'} "
        f"{SHIFT_MM:.0f} mm."
    )
    return Finding("midline_shift", above, text, _SHIFT)


def _summary(result: Result) -> str:
    if result.lesions is None:
        blood = "Blood cannot be judged on these images."
    elif result.lesions:
        largest = result.lesions[0]
        blood = (
            f"Hyperdense lesions of {_total(result):.1f} mL together, the largest {largest.volume_ml:.1f} mL "
            f"({_place(largest.side)})."
        )
    else:
        where = " in the imaged part of the brain" if result.is_cut else ""
        blood = f"No hyperdense lesion of at least 0.5 mL was found{where}."
    if result.shift_left_mm is None:
        return f"{blood} The midline cannot be judged."
    return f"{blood} Midline shift {_shift_words(result.shift_left_mm)}."


def _shift_words(left_mm: float) -> str:
    return f"{abs(left_mm):.1f} mm to the {'left' if left_mm > 0 else 'right'}"


def _total(result: Result) -> float:
    return sum(lesion.volume_ml for lesion in result.lesions or ())


def _place(side: str) -> str:
    return {"left": "left", "right": "right"}.get(side, "middle")


def _key_frames(labels: NDArray[np.uint8], result: Result, axes: PatientAxes) -> tuple[KeyFrame, ...]:
    """Show lesions, the shift, and where neither is, three levels of the brain."""
    chosen: dict[int, KeyFrame] = {}

    def choose(frame: int, title: str, weight: int) -> None:
        chosen.setdefault(frame, KeyFrame(frame, title, weight))

    for number, lesion in enumerate((result.lesions or ())[:_SHOWN], start=1):
        frame = _frame_of(lesion.plane, len(labels), axes)
        title = f"Hyperdense lesion {number}, {_place(lesion.side)}, {lesion.volume_ml:.1f} mL"
        choose(frame, title, 3 if number == 1 else 1)
    if result.shift_left_mm is not None and result.shift_plane is not None:
        frame = _frame_of(result.shift_plane, len(labels), axes)
        choose(frame, f"Ventricles; midline shift {_shift_words(result.shift_left_mm)}", 2)
    if axes.order[0] != 0:  # planes are not frames: what was chosen is elsewhere
        chosen.clear()
        if (labels == LESION).any():
            choose(int((labels == LESION).sum(axis=(1, 2)).argmax()), "Hyperdense lesion", 3)
    frames = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    if len(chosen) < 3:
        for part in (0.3, 0.55, 0.75):
            choose(int(frames[round(part * (len(frames) - 1))]), "Brain", 0)
    return tuple(chosen[frame] for frame in sorted(chosen))


def _lines(labels: NDArray[np.uint8], result: Result, axes: PatientAxes) -> Iterator[Line]:
    """Draw the middle, from the front of the brain to the ventricles, and how far off theirs is; on axial frames."""
    if result.shift_left_mm is None or result.shift_plane is None or result.shift_points is None or axes.order[0] != 0:
        return
    frame = _frame_of(result.shift_plane, len(labels), axes)
    front, middle, found = (
        axes.stored_place((result.shift_plane, *point), labels.shape)[1:] for point in result.shift_points
    )
    yield Line(frame, front, middle, "Middle of the skull", _WHITE)
    yield Line(frame, middle, found, f"Shift {_shift_words(result.shift_left_mm)}", _YELLOW)


def _frame_of(plane: int, frames: int, axes: PatientAxes) -> int:
    frame = min(max(plane, 0), frames - 1)
    return frames - 1 - frame if axes.backwards[0] else frame
