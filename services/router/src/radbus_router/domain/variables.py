"""What the conditions of a use case can read: `series` or `study`, and `source`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from radbus_contracts.facts import Scope, Source

Elements = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SeriesHeader:
    """The header elements of a series by keyword: of one representative instance, and where instances differ."""

    series_instance_uid: str
    elements: Elements
    instance_count: int
    distinct: Elements = field(default_factory=dict)

    def variables(self) -> dict[str, Any]:
        """Return the map that conditions read as `series`."""
        return {**self.elements, "all": dict(self.distinct), "instances": self.instance_count}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is decided about: a series, or a study with all its series."""

    scope: Scope
    values: dict[str, Any]
    series: tuple[SeriesHeader, ...]

    @classmethod
    def of_series(cls, series: SeriesHeader) -> Subject:
        """Take a series as the subject."""
        return cls(Scope.SERIES, {"series": series.variables()}, (series,))

    @classmethod
    def of_study(cls, series: Sequence[SeriesHeader]) -> Subject:
        """Take a study as the subject: its own elements are those of its largest series."""
        ordered = sorted(series, key=lambda each: each.series_instance_uid)
        study = {**largest(series).elements, "series": [each.variables() for each in ordered]}
        return cls(Scope.STUDY, {"study": study}, tuple(ordered))


def largest(series: Sequence[SeriesHeader]) -> SeriesHeader:
    """Return the series with the most instances; of several, the one whose UID sorts first."""
    return min(series, key=lambda each: (-each.instance_count, each.series_instance_uid))


def source_variables(source: Source) -> dict[str, str]:
    """Return the map that conditions read as `source`; a name that it does not have is absent."""
    return {name: value for name, value in source.model_dump(mode="json").items() if value is not None}
