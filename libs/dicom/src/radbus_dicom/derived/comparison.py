"""What has changed since the same patient's previous result: numbers, and the words in which every output says them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from radbus_machines.types import Code, Measurement

_NO_PERCENT = frozenset({"%", "[hnsf'U]", "Cel"})
"""Units in which a percentage of change says nothing: they are percentages already, or their zero is arbitrary."""
_UNITS = {"1": "", "[hnsf'U]": "HU"}
NOTHING_EARLIER = "No earlier result of this patient is on record to compare with."


@dataclass(frozen=True, slots=True)
class Previous:
    """The result that is compared with: of which study, when that was, and which machine made it."""

    inference_id: str
    job_id: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    study_date: str
    days_between: int
    machine: str
    machine_version: str

    @property
    def day(self) -> str:
        """Return the study's date as people write it."""
        return f"{self.study_date[:4]}-{self.study_date[4:6]}-{self.study_date[6:]}"


@dataclass(frozen=True, slots=True)
class Change:
    """One measurement now and then."""

    name: str
    title: str
    unit: str
    concept: Code
    value: float
    previous: float

    @property
    def absolute(self) -> float:
        """Return the difference, in the measurement's unit, without the noise of binary fractions."""
        return round(self.value - self.previous, 6)

    @property
    def percent(self) -> float | None:
        """Return the difference in percent of the previous value; None where that says nothing."""
        if self.unit in _NO_PERCENT or self.previous <= 0:
            return None
        return round(100.0 * self.absolute / self.previous, 1)

    @property
    def words(self) -> str:
        """Return the change as a report says it: `+120 mL (+2.8 %)`."""
        unit = "percentage points" if self.unit == "%" else _UNITS.get(self.unit, self.unit)
        absolute = f"{signed(self.absolute)} {unit}".strip()
        return absolute if self.percent is None else f"{absolute} ({signed(self.percent)} %)"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a result was compared with and what has changed; `previous` is None where there was nothing to compare."""

    previous: Previous | None
    changes: tuple[Change, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Return the comparison in sentences."""
        if self.previous is None:
            return " ".join(self.remarks)
        said = "; ".join(
            f"{each.title} {number(each.previous)} to {number(each.value)}, {each.words}" for each in self.changes
        )
        head = f"Compared with {self.previous.day} ({days(self.previous.days_between)} before)"
        return " ".join([f"{head}: {said or 'nothing that both have measured'}.", *self.remarks])

    def change_of(self, measurement: Measurement) -> Change | None:
        """Find the change of a measurement."""
        return next((each for each in self.changes if _key(each) == _key(measurement)), None)

    def as_json(self) -> dict[str, Any]:
        """Return it in JSON's types, with what is computed."""
        changes = [{**asdict(each), "absolute": each.absolute, "percent": each.percent} for each in self.changes]
        previous = None
        if self.previous is not None:
            previous = {**asdict(self.previous), "series_instance_uids": list(self.previous.series_instance_uids)}
        return {"previous": previous, "changes": changes, "remarks": list(self.remarks), "summary": self.summary}


def comparison_of(document: Mapping[str, Any]) -> Comparison:
    """Read what `as_json` wrote."""
    previous = document["previous"]
    if previous is not None:
        previous = Previous(**{**previous, "series_instance_uids": tuple(previous["series_instance_uids"])})
    names = ("name", "title", "unit", "value", "previous")
    changes = [
        Change(**{name: each[name] for name in names}, concept=Code(**each["concept"])) for each in document["changes"]
    ]
    return Comparison(previous, tuple(changes), tuple(document["remarks"]))


def changes_between(
    now: Sequence[Measurement], before: Sequence[Mapping[str, Any]], *, names: Sequence[str] = ()
) -> Iterator[Change]:
    """Pair measurements by name, concept and unit; `names` says which are comparable, none says all.

    What one of both sides has twice is left out: nothing tells which belongs to which.
    """
    then = {_recorded_key(each): float(each["value"]) for each in before}
    twice = {key for key, count in Counter(map(_recorded_key, before)).items() if count > 1}
    twice |= {key for key, count in Counter(map(_key, now)).items() if count > 1}
    for each in now:
        key = _key(each)
        if key in then and key not in twice and (not names or each.name in names):
            yield Change(each.name, each.title, each.unit, each.concept, float(each.value), then[key])


def signed(value: float) -> str:
    """Write a number with its sign; zero has none."""
    return "0" if value == 0 else f"{value:+.4g}" if abs(value) < 10_000 else f"{value:+.0f}"


def number(value: float) -> str:
    """Write a number as the report's table does."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def days(count: int) -> str:
    """Write a number of days."""
    return "the same day" if count == 0 else "1 day" if count == 1 else f"{count} days"


def _key(measured: Measurement | Change) -> tuple[str, str, str, str]:
    return measured.name, measured.unit, measured.concept.value, measured.concept.scheme


def _recorded_key(document: Mapping[str, Any]) -> tuple[str, str, str, str]:
    concept = document.get("concept") or {}
    return document["name"], document["unit"], concept.get("value", ""), concept.get("scheme", "")
