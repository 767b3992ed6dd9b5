"""Which jobs an operator means, and what becomes of each, against services in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from pydantic import SecretStr
from radbus_cli.client import Client, RefusedError
from radbus_cli.filters import NotSureError
from radbus_cli.jobs_meant import Done, UnclearError, Wanted, do_with_each
from radbus_cli.target import Target, TargetSettings


class Services:
    """Has jobs, each a minute older than the one before, and refuses what it is told to."""

    def __init__(self, count: int, refused: dict[str, int] | None = None) -> None:
        now = datetime.now(UTC)
        self.jobs = [
            {"id": f"job-{place}", "use_case": "qct", "requested_at": (now - timedelta(minutes=place)).isoformat()}
            for place in range(count)
        ]
        self.refused = refused or {}
        self.retried: list[str] = []
        self.asked_for: list[dict[str, str]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and request.url.path == "/jobs":
            return self._page(dict(request.url.params))
        job_id = request.url.path.split("/")[2]
        job = next((each for each in self.jobs if each["id"] == job_id), None)
        if job is None:
            return httpx2.Response(404, json={"message": "There is no such job."})
        if request.method == "GET":
            return httpx2.Response(200, json=job)
        if job_id in self.refused:
            return httpx2.Response(self.refused[job_id], json={"message": "no"})
        self.retried.append(job_id)
        return httpx2.Response(202, json={**job, "state": "active"})

    def _page(self, query: dict[str, str]) -> httpx2.Response:
        self.asked_for.append(query)
        start = int(query.get("cursor", "0"))
        end = start + int(query["limit"])
        return httpx2.Response(
            200, json={"jobs": self.jobs[start:end], "next": str(end) if end < len(self.jobs) else None}
        )


def retry(services: Services, job_id: str | None = None, *, is_sure: bool = True, **given: object) -> Done:
    client = Client(Target(TargetSettings(token=SecretStr("t"))), transport=httpx2.MockTransport(services))
    wanted = Wanted(**{"id": job_id, "state": None, "use_case": None, "since": None, "limit": 1000, **given})
    return do_with_each(
        client, wanted, lambda client, job: client.retry(job["id"]), otherwise="failed", is_sure=is_sure
    )


def test_one_that_is_named_needs_no_yes_and_one_that_there_is_not_is_said():
    services = Services(2)

    done = retry(services, "job-1", is_sure=False)

    assert (services.retried, done.done) == (["job-1"], [{"id": "job-1", "use_case": "qct", "state": "active"}])
    with pytest.raises(RefusedError, match="There is no such job"):
        retry(services, "job-9", is_sure=False)


def test_several_need_a_yes_and_without_it_nothing_is_done():
    services = Services(3)

    with pytest.raises(NotSureError, match="mean 3 jobs"):
        retry(services, is_sure=False)

    assert services.retried == []


def test_all_pages_are_taken_up_to_the_limit_and_it_is_said_that_there_are_more():
    services = Services(450)

    done = retry(services, state="cancelled", use_case="qct", limit=430)

    assert (len(done.done), done.more) == (430, True)
    assert {(query["state"], query["use_case"]) for query in services.asked_for} == {("cancelled", "qct")}
    assert not retry(services, limit=450).more


def test_those_before_a_time_are_not_meant():
    services = Services(10)

    retry(services, since=timedelta(minutes=3, seconds=30))

    assert services.retried == ["job-0", "job-1", "job-2", "job-3"]


def test_one_that_is_refused_holds_up_no_other_but_what_would_be_refused_to_all_ends_it():
    beside = retry(Services(3, refused={"job-1": 409}))
    ended = retry(Services(3, refused={"job-1": 429}))

    assert [job["id"] for job in beside.done] == ["job-0", "job-2"]
    assert beside.refused == [{"id": "job-1", "use_case": "qct", "reason": "no"}]
    assert ([job["id"] for job in ended.done], ended.untried) == (["job-0"], 1)


def test_an_id_with_filters_is_unclear():
    with pytest.raises(UnclearError, match="not both"):
        retry(Services(1), "job-0", since=timedelta(hours=1))
