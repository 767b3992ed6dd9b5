"""What a migration is: which records are of the old shape, and one atomic change that makes them new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of one collection, by a rule that MongoDB itself applies to each record.

    `old` holds for a record of the old shape and for no other, so that a step that is done twice is done once. `change`
    adds, and takes nothing away that a service of the release before reads: both releases run beside each other.
    """

    name: str
    title: str
    collection: str
    old: Mapping[str, Any]
    change: Sequence[Mapping[str, Any]]
