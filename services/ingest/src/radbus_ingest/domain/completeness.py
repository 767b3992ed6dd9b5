"""When a series is complete: at once for a reason that is named here, else after it has been quiet for a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from radbus_contracts.facts import Source

# Modalities whose image is whole by itself (defined terms of PS3.3 C.7.3.1.1.1): projection radiography. What makes
# series of many pictures has to become quiet, or each picture would be a revision of its own.
SINGLE_IMAGE_MODALITIES: Final = frozenset({"CR", "DX", "IO", "MG", "PX", "RG"})
ANY_SOURCE: Final = "*"


class CompleteBecause(StrEnum):
    """Why a series is complete at once."""

    SINGLE_IMAGE = "single-image modality"
    SAID_SO = "the request said so"
    WHOLE_SERIES_SOURCE = "its source sends whole series"
    ALL_EXPECTED = "all expected instances are there"


@dataclass(frozen=True, slots=True)
class CompletenessRules:
    """The site's times, and the sources that send each series in one request."""

    quiet_s: float
    study_quiet_s: float
    whole_series_sources: frozenset[str] = frozenset()

    def sends_whole_series(self, source: Source) -> bool:
        """Say whether each request of this source holds a whole series."""
        return bool(self.whole_series_sources & {ANY_SOURCE, *source.names})


@dataclass(frozen=True, slots=True)
class SeriesArrival:
    """What one request brought of one series, and how many instances of it there are now.

    A request is whole unless some of it could not be taken and will be sent again.
    """

    modality: str
    says_complete: bool
    source: Source
    expected_instances: int | None
    present_instances: int
    is_whole: bool = True


def complete_at_once(arrival: SeriesArrival, rules: CompletenessRules) -> CompleteBecause | None:
    """Say why a series need not wait for quiet, or None."""
    if arrival.modality in SINGLE_IMAGE_MODALITIES:
        return CompleteBecause.SINGLE_IMAGE
    if arrival.is_whole and arrival.says_complete:
        return CompleteBecause.SAID_SO
    if arrival.is_whole and rules.sends_whole_series(arrival.source):
        return CompleteBecause.WHOLE_SERIES_SOURCE
    if arrival.expected_instances and arrival.present_instances >= arrival.expected_instances:
        return CompleteBecause.ALL_EXPECTED
    return None


def instances_digest(sop_instance_uids: Iterable[str]) -> str:
    """Tell one set of instances from another, whatever the order in which they came."""
    return _digest(sorted(sop_instance_uids))


def series_digest(revisions: Iterable[tuple[str, int]]) -> str:
    """Tell one state of a study's series (UID, revision) from another."""
    return _digest(sorted(f"{series_instance_uid}/{revision}" for series_instance_uid, revision in revisions))


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
