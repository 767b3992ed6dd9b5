"""Which jobs an operator means, and doing something with each of them, so that one that is refused stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from radbus_contracts.errors import PermanentError

from radbus_cli.client import Answer, Client, expect
from radbus_cli.filters import NotSureError

Job = dict[str, Any]
Act = Callable[[Client, Job], Answer]

_PAGE = 200
_OF_THIS_JOB = frozenset({404, 409})  # what else is refused would be refused to all the others, too


class UnclearError(PermanentError):
    """It cannot be told which jobs are meant."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are meant: one by its id, or those of a state."""

    id: str | None
    state: str | None
    use_case: str | None
    since: timedelta | None
    limit: int

    def __post_init__(self) -> None:
        filters = (self.state, self.use_case, self.since)
        if self.id is not None and any(each is not None for each in filters):
            raise UnclearError("expected the id of a job, or filters, not both")


@dataclass(slots=True)
class Done:
    """What became of each job that was meant."""

    done: list[Job] = field(default_factory=list)
    refused: list[Job] = field(default_factory=list)
    untried: int = 0
    more: bool = False
    """Whether others are meant that were beyond the limit."""


def do_with_each(client: Client, wanted: Wanted, act: Act, *, otherwise: str, is_sure: bool) -> Done:
    """Do something with each job that is meant; those of the state `otherwise`, if none was named.

    Raises:
        NotSureError: They were not named by an id, and it was not said to go on.
    """
    if wanted.id is not None:
        return _done(client, [expect(client.job(wanted.id), 200)], act)
    jobs = list(_found(client, wanted, wanted.state or otherwise))
    if jobs and not is_sure:
        count = f"{wanted.limit} or more" if len(jobs) > wanted.limit else str(len(jobs))
        noun = "job" if len(jobs) == 1 else "jobs"
        raise NotSureError(f"the filters mean {count} {noun}: look with `radbus jobs`, then add --yes")
    done = _done(client, jobs[: wanted.limit], act)
    done.more = len(jobs) > wanted.limit
    return done


def _done(client: Client, jobs: list[Job], act: Act) -> Done:
    so_far = Done()
    for place, job in enumerate(jobs):
        answer = act(client, job)
        if answer.status in {200, 202}:
            so_far.done.append({"id": job["id"], "use_case": job["use_case"], **_told(answer)})
            continue
        body = answer.body if isinstance(answer.body, dict) else {}
        reason = body.get("message") or f"the service answered {answer.status}"
        so_far.refused.append({"id": job["id"], "use_case": job["use_case"], "reason": reason})
        if answer.status not in _OF_THIS_JOB:
            so_far.untried = len(jobs) - place - 1
            break
    return so_far


def _told(answer: Answer) -> Job:
    return {name: answer.body[name] for name in ("state", "job_id") if name in answer.body}


def _found(client: Client, wanted: Wanted, state: str) -> Iterator[Job]:
    """Give the jobs that are meant, newest first, and one more where there are more than the limit."""
    after = datetime.now(UTC) - wanted.since if wanted.since is not None else None
    query = {"state": state, "limit": str(min(_PAGE, wanted.limit + 1))}
    query |= {"use_case": wanted.use_case} if wanted.use_case else {}
    found = 0
    while True:
        page = expect(client.jobs(query), 200)
        for job in page["jobs"]:
            if after is not None and datetime.fromisoformat(job["requested_at"]) < after:
                return
            yield job
            found += 1
            if found > wanted.limit:
                return
        if page["next"] is None:
            return
        query["cursor"] = page["next"]
