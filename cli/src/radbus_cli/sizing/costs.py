"""What a study costs, by use case: a part for the study and a part for each instance, from `make bench-cost`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radbus_contracts.errors import PermanentError

MEASURED = Path(__file__).with_name("measured.json")


class CostsError(PermanentError):
    """The file of measured costs is not what `make bench-cost` writes."""


@dataclass(frozen=True, slots=True)
class Line:
    """A cost that grows with the instances of a study."""

    a_study: float
    an_instance: float

    def at(self, instances: float) -> float:
        """Return the cost of a study of so many instances; never less than nothing."""
        return max(0.0, self.a_study + self.an_instance * instances)

    @classmethod
    def through(cls, points: Mapping[int, float]) -> Line:
        """Draw the line through two measured sizes; what falls with the size is noise, and is taken as level."""
        (small, low), (large, high) = sorted(points.items())
        slope = max(0.0, (high - low) / (large - small))
        if slope == 0.0:
            return cls((low + high) / 2, 0.0)
        if low - slope * small < 0:  # nothing costs less than nothing: all of it is the instances'
            return cls(0.0, high / large)
        return cls(low - slope * small, slope)


@dataclass(frozen=True, slots=True)
class StudyCosts:
    """What one study of a use case costs: by the names of `tests/bench/engine_counters.py`, and a worker's time."""

    use_case: str
    costs: Mapping[str, Line]
    worker_s: Line
    spread: float  # the standard deviation of a worker's time, as a share of its mean

    def cost(self, name: str, instances: float) -> float:
        """Return one cost of a study; what was never counted costs nothing."""
        line = self.costs.get(name)
        return line.at(instances) if line else 0.0


def read_costs(path: Path = MEASURED) -> dict[str, StudyCosts]:
    """Read measured costs by use case.

    Raises:
        CostsError: The file is not what the measurement writes.
    """
    try:
        kinds = json.loads(path.read_text())["kinds"]
        return {use_case: _costs(use_case, kinds) for use_case in dict.fromkeys(kind["use_case"] for kind in kinds)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CostsError(
            f"{path}: expected the costs that `make bench-cost` writes ({type(error).__name__})"
        ) from error


def _costs(use_case: str, kinds: list[dict[str, Any]]) -> StudyCosts:
    rows = {row["instances"]: row for row in kinds if row["use_case"] == use_case}
    names = sorted({name for row in rows.values() for name in row["costs"]})
    times = {size: row["worker_s"] for size, row in rows.items()}
    means = {size: statistics.fmean(seconds) if seconds else 0.0 for size, seconds in times.items()}
    return StudyCosts(
        use_case,
        {name: Line.through({size: row["costs"].get(name, 0.0) for size, row in rows.items()}) for name in names},
        Line.through(means),
        max((_spread(seconds) for seconds in times.values()), default=0.0),
    )


def _spread(seconds: list[float]) -> float:
    return statistics.stdev(seconds) / statistics.fmean(seconds) if len(seconds) > 1 else 0.0
