"""What a series record says of its instances: one representative's elements, and the values in which they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from radbus_ingest.domain.completeness import instances_digest

DISTINCT_LIMIT: Final = 200
# A record holds 16 MiB at most.
_VALUE_LIMIT_CHARACTERS: Final = 256
_ALL_LIMIT_CHARACTERS: Final = 4 * 1024 * 1024


class SeriesSummary:
    """Grows page by page, so that a series of thousands is never held whole."""

    def __init__(self) -> None:
        self._order: list[tuple[int, str]] = []
        self._first: dict[str, Any] = {}
        self._distinct: dict[str, dict[str, Any]] = {}
        self._characters_left = _ALL_LIMIT_CHARACTERS

    def add(self, sop_instance_uid: str, elements: Mapping[str, Any]) -> None:
        """Take in one instance's header elements."""
        number = elements.get("InstanceNumber")
        self._order.append((number if isinstance(number, int) else 0, sop_instance_uid))
        for keyword, value in elements.items():
            if keyword not in self._first:
                self._first[keyword] = value
            elif self._first[keyword] != value or keyword in self._distinct:
                self._note(keyword, value)

    @property
    def instance_count(self) -> int:
        """How many instances there are."""
        return len(self._order)

    @property
    def digest(self) -> str:
        """What tells this set of instances from another."""
        return instances_digest(uid for _, uid in self._order)

    @property
    def representative(self) -> str:
        """SOPInstanceUID of the instance in the middle, by InstanceNumber and then by UID."""
        return sorted(self._order)[len(self._order) // 2][1]

    @property
    def distinct(self) -> dict[str, list[Any]]:
        """By keyword, the distinct values of the elements in which instances differ, at most 200 each."""
        return {keyword: list(values.values()) for keyword, values in self._distinct.items() if values}

    def _note(self, keyword: str, value: object) -> None:
        values = self._distinct.get(keyword)
        if values is None:
            values = self._distinct[keyword] = {}
            self._keep(values, self._first[keyword])
        self._keep(values, value)

    def _keep(self, values: dict[str, Any], value: object) -> None:
        if len(values) >= DISTINCT_LIMIT:
            return
        key = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        if key in values or len(key) > min(_VALUE_LIMIT_CHARACTERS, self._characters_left):
            return
        self._characters_left -= len(key)
        values[key] = value
