"""What results reads of runs: their own records, their jobs, and what these came to; it writes none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from radbus_storage import records
from radbus_storage.documents import NOW, Document, Documents

from radbus_results.domain.run import Run, RunJob, RunOutcome, RunTask, run_of

# The fact that makes the job goes out with the run's record, and no job lives as long as this.
JOB_IS_DUE = timedelta(hours=2)
_JOB_FIELDS = {"state": 1, "reason": 1, "tasks.state": 1, "tasks.progress": 1, "tasks.outcome_id": 1}
_OUTCOME_FIELDS = {"usable": 1, "summary": 1, "files": 1}


class Runs:
    """Finds runs of an institution."""

    def __init__(self, documents: Documents) -> None:
        self._runs = documents[records.RUNS]
        self._jobs = documents[records.JOBS]
        self._outcomes = documents[records.OUTCOMES]

    async def find(self, institution: str, run_id: str) -> Run | None:
        """Read how a run stands; None where it is unknown or another institution's."""
        own = {"_id": run_id, "institution": institution}
        # The id of one that has not begun was told to nobody.
        begun = {**own, "window": {"$in": ["open", run_id]}}
        record = await self._runs.find_one(begun, only={"model_id": 1, "machine": 1, "erased_at": 1})
        if record is None:
            return None
        run = await self._run(own, record["model_id"])
        return replace(run, machine=record["machine"], erased=record.get("erased_at") is not None)

    async def _run(self, own: Document, model_id: str) -> Run:
        job = await self._jobs.find_one(own, only=_JOB_FIELDS)
        if job is None:
            return run_of(model_id, None, (), overdue=await self._overdue(own))
        return run_of(model_id, _job(job), await self._outcomes_of(own["institution"], job), overdue=False)

    async def _overdue(self, own: Document) -> bool:
        started_long_ago = {"$lt": ["$started_at", {"$subtract": [NOW, JOB_IS_DUE // timedelta(milliseconds=1)]}]}
        return await self._runs.count({**own, "$expr": started_long_ago}, limit=1) > 0

    async def _outcomes_of(self, institution: str, job: Document) -> list[RunOutcome]:
        wanted = [task["outcome_id"] for task in job["tasks"] if task.get("outcome_id")]
        if job["state"] != "completed" or not wanted:
            return []
        where = {"_id": {"$in": wanted}, "institution": institution}
        found = await self._outcomes.find(where, limit=len(wanted), only=_OUTCOME_FIELDS)
        by_id = {each["_id"]: _outcome(each) for each in found}
        return [by_id[each] for each in wanted if each in by_id]


def _job(found: Document) -> RunJob:
    tasks = tuple(RunTask(task["state"], float(task.get("progress") or 0)) for task in found["tasks"])
    return RunJob(found["state"], tasks, found.get("reason"))


def _outcome(found: dict[str, Any]) -> RunOutcome:
    return RunOutcome(found.get("usable", True), found.get("summary") or "", found.get("files") or {})
