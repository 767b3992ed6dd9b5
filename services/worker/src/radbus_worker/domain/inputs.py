"""The `inputs` of an Inference object: what the model was given, each value at the level at which it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_OF_THE_STUDY = frozenset(
    {"PatientAge", "PatientSex", "PatientSize", "PatientWeight", "StudyDate", "StudyDescription", "StudyTime"}
)
_VALUE_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class FrameInput:
    """What was known of one frame, in geometric order: granted elements and geometry, by keyword."""

    instance_number: int | None
    elements: Mapping[str, object]


def inference_inputs(
    frames: Sequence[FrameInput], *, study_instance_uid: str, series_instance_uid: str
) -> dict[str, object]:
    """Arrange the elements of a series' frames by study, series or instance; what is long is left out."""
    inputs: dict[str, object] = {}
    indices = _indices(frames)
    for keyword in dict.fromkeys(keyword for frame in frames for keyword in frame.elements):
        values = [frame.elements.get(keyword) for frame in frames]
        if any(len(repr(value)) > _VALUE_CHARACTERS for value in values):
            continue
        if keyword in _OF_THE_STUDY:
            inputs[snake_case(keyword)] = {study_instance_uid: values[0]}
        elif all(value == values[0] for value in values):
            inputs[snake_case(keyword)] = {study_instance_uid: {series_instance_uid: values[0]}}
        else:
            each = {index: value for index, value in zip(indices, values, strict=True) if value is not None}
            inputs[snake_case(keyword)] = {study_instance_uid: {series_instance_uid: each}}
    return inputs


def snake_case(keyword: str) -> str:
    """Spell a DICOM keyword in snake case: `ImagePositionPatient` as `image_position_patient`, `KVP` as `kvp`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()


def _indices(frames: Sequence[FrameInput]) -> list[str]:
    """Number frames by InstanceNumber, or by geometric order from 1 where that is absent or repeats."""
    numbers = [frame.instance_number for frame in frames]
    if None in numbers or len(set(numbers)) < len(numbers):
        return [str(index) for index in range(1, len(frames) + 1)]
    return [str(number) for number in numbers]
