"""Claims: ids, time and object keys of an attempt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from radbus_contracts.orders import RunTaskV1
from radbus_worker.domain.claims import Claim

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def claim(*, finish_in_s: float = 3600, attempt: int = 1) -> Claim:
    order = RunTaskV1(
        job_id="job",
        task_id="task",
        attempt=attempt,
        machine="m",
        use_case="u",
        title="t",
        study_instance_uid="1",
        series_instance_uids=("2",),
        finish_by=NOW + timedelta(seconds=finish_in_s),
    )
    return Claim(institution="north", order=order, use_case_version=1, requested_at=NOW, claimed_at=NOW)


@pytest.mark.parametrize(("finish_in_s", "limit_s"), [(3600, 300), (20, 20), (-5, 0)])
def test_an_attempt_has_its_machines_time_or_what_is_left_of_the_jobs(finish_in_s, limit_s):
    assert claim(finish_in_s=finish_in_s).time_limit_s(300) == limit_s


def test_attempts_share_a_lease_and_nothing_else():
    first, second = claim(attempt=1), claim(attempt=2)

    assert first.lease_id == second.lease_id
    assert first.outcome_id != second.outcome_id
    assert first.object_key("a.png") != second.object_key("a.png")


def test_an_object_lies_in_its_institutions_folder():
    assert claim().object_key("a.png") == "north/derived/job/task/1/a.png"
