"""The `inputs` of an Inference object: what the model was given, each value at the level at which it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_OF_THE_STUDY = frozenset(
    {"PatientAge", "PatientSex", "PatientSize", "PatientWeight", "StudyDate", "StudyDescription", "StudyTime"}
)
_VALUE_CHARACTERS = 1024


Inputs = dict[str, dict[str, object]]
"""Values by name and StudyInstanceUID; below that by SeriesInstanceUID where they are not of the whole study."""


@dataclass(frozen=True, slots=True)
class FrameInput:
    """What was known of one frame, in geometric order: granted elements and geometry, by keyword."""

    instance_number: int | None
    elements: Mapping[str, object]


def inference_inputs(frames: Sequence[FrameInput], *, study_instance_uid: str, series_instance_uid: str) -> Inputs:
    """Arrange the elements of a series' frames by study, series or instance; what is long is left out."""
    inputs: Inputs = {}
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


def merged(of_each_series: Iterable[Inputs]) -> Inputs:
    """Put the inputs of several series together."""
    whole: Inputs = {}
    for inputs in of_each_series:
        for name, by_study in inputs.items():
            known = whole.setdefault(name, {})
            for study_instance_uid, value in by_study.items():
                before = known.setdefault(study_instance_uid, value)
                if isinstance(before, dict) and isinstance(value, dict):
                    known[study_instance_uid] = {**before, **value}
    return whole


def snake_case(keyword: str) -> str:
    """Spell a DICOM keyword in snake case: `ImagePositionPatient` as `image_position_patient`, `KVP` as `kvp`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()


def _indices(frames: Sequence[FrameInput]) -> list[str]:
    """Number frames by InstanceNumber, or by geometric order from 1 where that is absent or repeats."""
    numbers = [frame.instance_number for frame in frames]
    if None in numbers or len(set(numbers)) < len(numbers):
        return [str(index) for index in range(1, len(frames) + 1)]
    return [str(number) for number in numbers]
