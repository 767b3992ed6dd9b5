"""Where a derived object comes from; it goes into each of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from radbus_contracts.notice import RESEARCH_USE_ONLY

MANUFACTURER = "radbus"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which job of which machine made an object; no institution, no patient.

    `made_at` is the job's own time, not the clock's: a re-run then makes the same bytes.
    """

    job_id: str
    machine: str
    machine_version: str
    use_case: str
    use_case_version: int
    made_at: datetime
    weights_sha256: str | None = None

    def of_series(self, series_instance_uid: str) -> str:
        """Name what this machine makes of a series: a job has several machines, and one may judge several series."""
        return f"{self.machine}/{series_instance_uid}"

    def as_json(self) -> dict[str, str | int | None]:
        """Return all of it in JSON's types, with the disclaimer."""
        return {**asdict(self), "made_at": self.made_at.isoformat(), "disclaimer": RESEARCH_USE_ONLY}
