"""What an arriving instance is and what became of it: every dialect makes its answer from these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from radbus_contracts.facts import Source


class FailureReason(IntEnum):
    """Failure Reason (0008,1197) that ingest gives itself; the reader of headers has its own (PS3.18 I.2.2)."""

    PROCESSING_FAILURE = 0x0110
    DUPLICATE_WITH_OTHER_CONTENT = 0x0111
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class Arrival:
    """From whom instances come and what the request says of them, whatever its dialect."""

    institution: str
    source: Source
    study_instance_uid: str | None = None
    says_complete: bool = False


@dataclass(frozen=True, slots=True)
class SopReference:
    """Which instance is meant; empty where that could not be read."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Instance:
    """The facts of one instance that answers may tell."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    rows: int | None
    columns: int | None
    expected_instances: int | None

    @property
    def sop(self) -> SopReference:
        """Which instance this is."""
        return SopReference(self.sop_class_uid, self.sop_instance_uid)


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance is in both stores; `created` is false when the same bytes were there already."""

    name: str
    instance: Instance
    size_bytes: int
    created: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A part was not stored; `again` says whether sending it again may help."""

    name: str
    failure_reason: int
    text: str
    sop: SopReference | None = None
    again: bool = False


Outcome: TypeAlias = Stored | Refused


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a whole request; `fault` says why its body could not be read to the end."""

    outcomes: tuple[Outcome, ...]
    fault: Exception | None = None

    @property
    def stored(self) -> tuple[Stored, ...]:
        """The instances that are safe."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Stored))

    @property
    def refused(self) -> tuple[Refused, ...]:
        """The parts that are not."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Refused))

    @property
    def again(self) -> bool:
        """Whether a part was not stored because a store is away: sent again, what is stored already is a duplicate."""
        return any(refused.again for refused in self.refused)


def instance_key(institution: str, instance: Instance, sha256: str) -> str:
    """Name the object of an instance; the content is in the name, so that putting it again is the same object."""
    path = (instance.study_instance_uid, instance.series_instance_uid, f"{instance.sop_instance_uid}.{sha256[:16]}.dcm")
    return f"{institution}/instances/{'/'.join(path)}"
