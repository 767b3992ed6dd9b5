"""An attempt whose servers come and go."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from radbus_contracts.errors import ServerAwayError, TransientError
from radbus_contracts.orders import RunTaskV1
from radbus_machines.manifest import MachineManifest
from radbus_machines.types import MachineOutput
from radbus_storage.errors import DiskFullError
from radbus_worker.domain.claims import Claim
from radbus_worker.domain.results import Failure, Produced
from radbus_worker.handlers.attempts import Attempts, Station

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PRODUCED = Produced(MachineOutput(summary="Nothing."))


class Quiet:
    """Leases that hold, and courtesies that nobody hears."""

    async def renew(self, claim: Claim) -> None: ...

    async def hold(self, claim: Claim, seconds: float) -> None: ...

    async def started(self, claim: Claim) -> None: ...

    async def progressed(self, claim: Claim, progress: float) -> None: ...


@dataclass
class Written:
    """Outcomes in memory."""

    results: list[Produced | Failure] = field(default_factory=list)

    async def record(self, claim: Claim, manifest: MachineManifest | None, result: Produced | Failure) -> None:
        self.results.append(result)


@dataclass
class Failing:
    """A runner that raises what it is given, one error a run, then produces."""

    errors: list[Exception]
    runs: int = 0

    async def run(self, claim: Claim, progress: Any) -> Produced:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        return PRODUCED


def claim(*, finish_in_s: float = 100) -> Claim:
    order = RunTaskV1(
        job_id="j",
        task_id="t",
        attempt=1,
        machine="m",
        use_case="u",
        title="U",
        study_instance_uid="1.2",
        series_instance_uids=("1.2.3",),
        needs=(),
        finish_by=NOW + timedelta(seconds=finish_in_s),
    )
    return Claim("north", order, use_case_version=1, requested_at=NOW, claimed_at=NOW)


async def outcome_of(
    runner: Failing, *, finish_in_s: float = 100, again_s: float = 0, on_full_disk: Callable[[], None] | None = None
) -> Produced | Failure:
    manifest = MachineManifest(name="m", version="1", title="M", runner="report")
    written, quiet = Written(), Quiet()
    stations = {"m": Station(manifest, runner)}
    attempts = Attempts(stations, quiet, written, quiet, 1000, on_full_disk or (lambda: None), server_again_s=again_s)
    await asyncio.wait_for(attempts.run(claim(finish_in_s=finish_in_s)), 10)
    [result] = written.results
    return result


@pytest.mark.parametrize("error", [DiskFullError("no"), OSError(errno.ENOSPC, "no"), OSError(errno.EDQUOT, "no")])
async def test_a_disk_that_is_full_is_told_to_whoever_takes_orders(error):
    told: list[bool] = []

    result = await outcome_of(Failing([error]), on_full_disk=lambda: told.append(True))

    assert (result.again, told) == (True, [True])


async def test_a_server_that_is_away_for_a_while_costs_no_attempt():
    runner = Failing([ServerAwayError("the store is away")] * 5)

    result = await outcome_of(runner)

    assert result == PRODUCED
    assert runner.runs == 6


async def test_a_server_that_stays_away_is_the_reason_when_the_time_is_over():
    runner = Failing([ServerAwayError("the store is away")] * 5)

    result = await outcome_of(runner, finish_in_s=1, again_s=2)

    assert result == Failure("the store is away", again=True)


@pytest.mark.parametrize("error", [TransientError("the model failed"), ZeroDivisionError()])
async def test_any_other_failure_is_the_attempts_end(error):
    runner = Failing([error])

    result = await outcome_of(runner)

    assert isinstance(result, Failure)
    assert runner.runs == 1
