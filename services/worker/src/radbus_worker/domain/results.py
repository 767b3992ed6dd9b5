"""What an attempt can come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from radbus_contracts.errors import PermanentError, RadbusError, TransientError
from radbus_dicom.derived.comparison import Comparison
from radbus_machines.types import MachineOutput

Files = Mapping[str, tuple[str, ...]]
"""Object keys by kind: seg, sr, gsps, sc, rtstruct, sc_png, npz, json; of a report pdf, encapsulated_pdf, fhir, hl7."""


LEFT_OUT = "could not be made and were left out."
"""How a remark ends that is about the outputs, not about the images."""


@dataclass(frozen=True, slots=True)
class Produced:
    """The machine has spoken; its objects are stored."""

    output: MachineOutput
    remarks: tuple[str, ...] = ()
    inputs: Mapping[str, object] = field(default_factory=dict)
    files: Files = field(default_factory=dict)
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The attempt failed; `again` says whether another may succeed."""

    reason: str
    again: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nobody wants the result any more: no outcome is written."""

    reason: str


Result = Produced | Failure | Stopped


def failure_of(error: RadbusError) -> Failure:
    """Read an error as a failure: its base class is its retry policy."""
    match error:
        case PermanentError():
            return Failure(str(error), again=False)
        case TransientError() | RadbusError():
            return Failure(str(error), again=True)


def too_slow(limit_s: float) -> Failure:
    """Say that an attempt used up its time."""
    return Failure(f"took longer than {limit_s:.0f} s", again=True)


def not_usable(reason: str) -> MachineOutput:
    """Answer for images that no machine can judge: an outcome, not a failure, so nothing is tried again."""
    return MachineOutput(summary=reason, limits=(reason,), usable=False)
