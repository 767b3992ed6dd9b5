"""A load: how many studies come a day, of what kinds, and how uneven the day is."""

from __future__ import annotations

from dataclasses import dataclass, field

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Share:
    """One kind of study in a load."""

    use_case: str
    share: float
    instances: int


# Radiographs are most of what a hospital makes; head and chest CT the most frequent of what AI looks at here.
# An assumption, to be replaced by a site's own counts.
USUAL_MIX = (
    Share("qxr", 0.55, 2),
    Share("qer", 0.10, 60),
    Share("qct", 0.10, 250),
    Share("not_implemented", 0.25, 40),
)


@dataclass(frozen=True, slots=True)
class Load:
    """Studies a day, their kinds, and the share of the day's studies that come within the busiest hour."""

    studies_a_day: float
    mix: tuple[Share, ...] = field(default=USUAL_MIX)
    busiest_hour: float = 0.10

    @property
    def mean_rate(self) -> float:
        """Studies a second over the day."""
        return self.studies_a_day / DAY_S

    @property
    def peak_rate(self) -> float:
        """Studies a second within the busiest hour."""
        return self.studies_a_day * self.busiest_hour / 3600
