"""The policy of retention: for how many days inputs, outputs and records are kept, by institution and use case."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from radbus_contracts.errors import PermanentError

from radbus_runtime.strict_yaml import read_strict

_FOREVER: Final = "forever"
_DAYS_LIMIT: Final = 100 * 366
_NAMES: Final = ("inputs_days", "outputs_days", "records_days")


class RetentionError(PermanentError):
    """The policy cannot be used; the text says file, key and what was expected."""


def _days(value: object) -> object:
    if value == _FOREVER:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _DAYS_LIMIT:
        raise ValueError(f"expected a whole number of days from 0 to {_DAYS_LIMIT}, or {_FOREVER}")
    return value


# None is for ever; what is not said is not among the fields that are set.
_Days = Annotated[int | None, BeforeValidator(_days)]
_Name = Annotated[str, Field(min_length=1, max_length=128)]


class _Periods(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    inputs_days: _Days = None
    outputs_days: _Days = None
    records_days: _Days = None


class _OfInstitution(_Periods):
    use_cases: dict[_Name, _Periods] = {}


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    default: _Periods = _Periods()
    use_cases: dict[_Name, _Periods] = {}
    institutions: dict[_Name, _OfInstitution] = {}


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days something is kept; None is for ever."""

    inputs_days: int | None = None
    outputs_days: int | None = None
    records_days: int | None = None


class RetentionPolicy:
    """What is kept for how long; without a file everything is, for ever."""

    def __init__(self, file: _File | None = None) -> None:
        self._file = file or _File()

    def kept(self, institution: str, use_case: str | None) -> Kept:
        """Say how long something is kept; no use case is what none is for.

        Each of the three is taken from the most specific that names it: institution and use case, institution, use
        case, default.
        """
        own = self._file.institutions.get(institution)
        places = (
            own.use_cases.get(use_case) if own is not None and use_case is not None else None,
            own,
            self._file.use_cases.get(use_case) if use_case is not None else None,
            self._file.default,
        )
        return Kept(*(_first(name, places) for name in _NAMES))

    @property
    def keeps_everything(self) -> bool:
        """Say whether nothing is ever erased by this policy."""
        return all(kept == Kept() for _, _, kept in self.rows())

    @property
    def shortest_days(self) -> int:
        """The shortest of all periods that end."""
        periods = (days for _, _, kept in self.rows() for days in _each(kept) if days is not None)
        return min(periods, default=_DAYS_LIMIT)

    @property
    def digest(self) -> str:
        """Name this policy by its content."""
        return hashlib.sha256(self._file.model_dump_json(exclude_unset=True).encode()).hexdigest()[:16]

    def rows(self) -> Iterator[tuple[str | None, str | None, Kept]]:
        """Give every pair of institution and use case that may differ from others; None is any other."""
        use_cases = {
            *self._file.use_cases,
            *(each for own in self._file.institutions.values() for each in own.use_cases),
        }
        for institution in (None, *sorted(self._file.institutions)):
            for use_case in (None, *sorted(use_cases)):
                yield institution, use_case, self.kept(institution or "", use_case)


def load_policy(path: Path | None) -> RetentionPolicy:
    """Read a policy; without a file everything is kept for ever.

    Raises:
        RetentionError: The file cannot be read or does not hold; every fault is told.
    """
    if path is None:
        return RetentionPolicy()
    try:
        content = read_strict(path)
    except OSError as error:
        raise RetentionError(f"{path}: expected a file that can be read ({type(error).__name__})") from error
    except yaml.YAMLError as error:
        raise RetentionError(f"{path}: expected YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise RetentionError(f"{path}: expected a map with default, institutions or use_cases")
    try:
        policy = RetentionPolicy(_File.model_validate(dict(content)))
    except ValidationError as error:
        raise RetentionError("\n".join(_faults(path, error))) from error
    if too_short := [_fault(path, *row) for row in policy.rows() if not _records_outlast(row[2])]:
        raise RetentionError("\n".join(too_short))
    return policy


def _first(name: str, places: tuple[_Periods | None, ...]) -> int | None:
    for place in places:
        if place is not None and name in place.model_fields_set:
            days: int | None = getattr(place, name)
            return days
    return None


def _records_outlast(kept: Kept) -> bool:
    """Say whether the records are kept for as long as what they tell of."""
    if kept.records_days is None:
        return True
    others = (kept.inputs_days, kept.outputs_days)
    return all(days is not None and days <= kept.records_days for days in others)


def _fault(path: Path, institution: str | None, use_case: str | None, kept: Kept) -> str:
    where = f"{institution or 'any institution'}, {use_case or 'any other use case'}"
    told = ", ".join(
        f"{name} {_FOREVER if days is None else days}" for name, days in zip(_NAMES, _each(kept), strict=True)
    )
    return f"{path}: {where}: expected records_days to be no less than inputs_days and outputs_days, got {told}"


def _each(kept: Kept) -> tuple[int | None, ...]:
    return kept.inputs_days, kept.outputs_days, kept.records_days


def _faults(path: Path, error: ValidationError) -> list[str]:
    return [
        f"{path}: {'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
