"""A job that completed on outcomes of which nothing is left."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import JobCompletedV1, TaskOutcome
from radbus_results.adapters.others import OtherRecords
from radbus_storage import records


class Outcomes:
    """The collection in memory."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self._found = list(found)

    async def find(self, where: object, *, limit: int, only: object = None) -> list[dict[str, Any]]:
        return self._found


def others(*outcomes: dict[str, Any]) -> OtherRecords:
    return OtherRecords(defaultdict(Outcomes, {records.OUTCOMES: Outcomes(*outcomes)}))  # type: ignore[arg-type]


def outcome(task_id: str, **changes: Any) -> dict[str, Any]:
    return {"_id": f"j1/{task_id}/1", "summary": "Both lungs are well aerated.", "usable": True, **changes}


def completed(*task_ids: str) -> JobCompletedV1:
    return JobCompletedV1(
        job_id="j1",
        use_case="qct",
        use_case_version=1,
        study_instance_uid="1.2",
        series_instance_uids=("1.2.3",),
        subject_uid="1.2.3",
        revision=1,
        outcomes=tuple(TaskOutcome(task_id=each, outcome_id=f"j1/{each}/1") for each in task_ids),
    )


async def test_no_result_is_made_of_an_outcome_that_was_erased():
    blank = outcome("lungs", summary="", erased_at=datetime(2026, 1, 1, tzinfo=UTC))
    read = others(blank, outcome("report"))

    with pytest.raises(PermanentError, match="the outputs of j1/lungs/1 were erased"):
        await read.outcomes("north", completed("lungs", "report"))

    assert [each.task_id for each in await read.outcomes("north", completed("report"))] == ["report"]
