"""What the model `head_ct` found, read from its JSON, and what the header adds to that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from radbus_contracts.errors import PermanentError

from radbus_machines.ct import has_contrast, sharp_kernel
from radbus_machines.types import Volume

_NO_DENSITY = frozenset({"contrast", "metal", "noise_or_sharp_kernel", "thick_slices"})

Place = tuple[float, float]


class HeadCtError(PermanentError):
    """The model gave a result that is not the JSON that was agreed on."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """A hyperdense part of the brain."""

    volume_ml: float
    side: str
    plane: int


@dataclass(frozen=True, slots=True)
class Result:
    """What the model found; None where it could not be judged. Planes count from below.

    `shift_points` are, in rows from the front and columns from the right: the middle at the front of the brain, the
    middle beside the ventricles, and where theirs is.
    """

    lesions: tuple[Lesion, ...] | None
    shift_left_mm: float | None
    shift_plane: int | None
    shift_points: tuple[Place, ...] | None
    remarks: Mapping[str, str]

    @property
    def is_cut(self) -> bool:
        """Tell whether a part of the brain is not in the images."""
        return "field_of_view_cut" in self.remarks

    @property
    def counted(self) -> tuple[Lesion, ...] | None:
        """Return the lesions that are counted: none found in a part of the brain is none known of the brain."""
        return None if self.is_cut and not self.lesions else self.lesions


def read(content: object, volume: Volume) -> Result:
    """Read the model's result.

    Raises:
        HeadCtError: It is not the JSON that was agreed on.
    """
    if not isinstance(content, (bytes, str)):
        raise HeadCtError(f"RESULT: expected JSON text, got {type(content).__name__}")
    slant = abs(float(np.linalg.det(volume.geometry.direction)))  # the model takes voxels for upright boxes
    try:
        told = json.loads(content)
        remarks = {str(each["code"]): str(each["text"]) for each in told["remarks"]} | _header_remarks(
            volume.attributes
        )
        lesions = told["lesions"]
        if lesions is not None:
            lesions = tuple(Lesion(float(e["volume_ml"]) * slant, str(e["side"]), int(e["plane"])) for e in lesions)
        shift, plane = told["shift_left_mm"], told["shift_plane"]
        return Result(
            None if _NO_DENSITY & remarks.keys() else lesions,
            None if shift is None else float(shift),
            None if plane is None else int(plane),
            _points(told.get("shift_points")),
            remarks,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise HeadCtError('RESULT: expected JSON with "lesions", "shift_left_mm", "shift_plane", "remarks"') from error


def _points(told: Sequence[Any] | None) -> tuple[Place, ...] | None:
    if told is None:
        return None
    front, middle, found = ((float(row), float(column)) for row, column in told)
    return front, middle, found


def _header_remarks(attributes: Mapping[str, object]) -> dict[str, str]:
    remarks = {}
    if has_contrast(attributes):
        remarks["contrast"] = "The header names a contrast agent, which hides fresh blood."
    if kernel := sharp_kernel(attributes):
        remarks["noise_or_sharp_kernel"] = f"The reconstruction kernel {kernel!r} is sharp; its noise hides blood."
    return remarks
