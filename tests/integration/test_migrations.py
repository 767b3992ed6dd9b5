"""Migrations on a real MongoDB: beside services that go on, killed and gone on with, one replica at a time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from radbus_contracts.facts import JobRequestedV1, Priority, Scope, TaskSpec
from radbus_router.adapters.routings import Routings
from radbus_runtime.bus import Bus
from radbus_runtime.migrating.catalogue import MIGRATIONS
from radbus_runtime.migrating.runner import MigrationHeldError, Migrator, Pace
from radbus_runtime.outbox import OutboxRelay
from radbus_scheduler.adapters.job_documents import job_of
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.settings import DocumentSettings
from radbus_testing.programs import settings_of
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

AT = datetime(2026, 11, 1, tzinfo=UTC)
RADBUS = [sys.executable, "-m", "radbus_cli"]


@pytest.fixture
def documents(stack, institution) -> Iterator[Documents]:
    """A database of the test's own."""
    url = SecretStr(stack.environment()["RADBUS_MONGO_URL"])
    documents = Documents(DocumentSettings(url=url, database=institution))
    yield documents
    documents.close()


@pytest.fixture
def command(stack, institution):
    """The operator's command, on that database."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        environment = {**stack.environment(), "RADBUS_MONGO_DATABASE": institution, "PATH": "/usr/bin:/bin"}
        return subprocess.Popen([*RADBUS, *arguments], env=environment, stdout=subprocess.PIPE, text=True)

    return start


def old_routing(number: int, *, on_request: bool = False) -> dict[str, Any]:
    """A decision as the first release wrote it: nobody could ask for it again."""
    uid = f"1.2.{number}"
    job = JobRequestedV1(
        job_id=f"job-{number}",
        use_case="qct",
        use_case_version=1,
        title="Chest CT",
        scope=Scope.SERIES,
        study_instance_uid="1.2",
        series_instance_uids=(uid,),
        subject_uid=uid,
        revision=1,
        priority=Priority.ROUTINE,
        tasks=(TaskSpec(id="lungs", machine="lung-ct", pool="default", max_attempts=3, timeout_s=60),),
    )
    matched = {"use_case": "qct", "version": 1, "matched": True, "on_request": on_request, "conditions": []}
    return {
        "_id": f"north/{uid}/1",
        "institution": "north",
        "scope": "series",
        "study_instance_uid": "1.2",
        "subject_uid": uid,
        "revision": 1,
        "decisions": [
            {**matched, "job": job.model_dump(mode="json")},
            {**matched, "use_case": "qer", "matched": False, "job": None},
        ],
        "job_ids": [] if on_request else [job.job_id],
        "reason": None,
        "decided_at": AT,
        "outbox": [],
    }


def old_job(number: int) -> dict[str, Any]:
    """A job as the first release wrote it."""
    task = {"id": "lungs", "machine": "lung-ct", "pool": "default", "needs": [], "state": "ready", "attempt": 0}
    task |= {"max_attempts": 3, "timeout_s": 60.0, "not_before": AT, "ready_at": AT, "dispatched_at": None}
    task |= {"started_at": None, "finished_at": None, "worker": None, "progress": 0.0, "outcome_id": None}
    named = {"_id": f"job-{number}", "institution": "north", "use_case": "qct", "use_case_version": 1, "title": "CT"}
    about = {"scope": "series", "study_instance_uid": "1.2", "series_instance_uids": ["1.2.3"], "subject_uid": "1.2.3"}
    rest = {"revision": 1, "priority": "routine", "critical_when": None, "state": "active", "requested_at": AT}
    rest |= {"finish_by": AT, "finished_at": None, "reason": None, "traceparent": None, "version": 1, "outbox": []}
    return {**named, **about, **rest, "tasks": [{**task, "reason": None}]}


def is_part_of(old: Any, new: Any) -> bool:
    """Say whether all that was in an old record is in the new one as it was, so that the release before can read it."""
    if isinstance(old, Mapping):
        return all(name in new and is_part_of(value, new[name]) for name, value in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(is_part_of, old, new))
    return bool(old == new)


async def standing_of(documents: Documents, name: str) -> Any:
    return next(each for each in await Migrator(documents, MIGRATIONS).standings() if each.name.startswith(name))


async def test_old_records_become_new_ones_in_which_the_release_before_finds_all_that_it_knows(documents):
    before = [old_routing(1), old_routing(2, on_request=True)]
    await documents[records.ROUTINGS].insert_many(before)
    await documents[records.JOBS].insert(old_job(1))

    standings = await Migrator(documents, MIGRATIONS).run(Pace())

    routings = await documents[records.ROUTINGS].find({}, limit=5, sort=[("_id", 1)])
    assert [[each["runs"] for each in routing["decisions"]] for routing in routings] == [[1, 0], [0, 0]]
    assert all(routing["wishes_seen"] for routing in routings)
    assert all(is_part_of(old, new) for old, new in zip(before, routings, strict=True))
    job = await documents[records.JOBS].find_one({})
    assert job is not None
    assert is_part_of(old_job(1), job)
    assert (job["retries"], job["archive"], job["tasks"][0]["channels"]) == (0, None, {})
    assert [(each.state, each.old) for each in standings] == [("done", 0)] * len(standings)


async def test_a_record_is_read_alike_before_and_after_its_migration(stack, documents):
    bus = Bus(settings_of(stack.environment()))
    collection = documents[records.ROUTINGS]
    routings = Routings(collection, OutboxRelay(bus, [collection]))
    await collection.insert_many([old_routing(1), old_routing(2, on_request=True)])
    await documents[records.JOBS].insert(old_job(1))
    job_before = job_of(await documents[records.JOBS].find_one({}) or {})
    before = await routings.newest("north", ["1.2.1", "1.2.2"])

    await Migrator(documents, MIGRATIONS).run(Pace())

    assert await routings.newest("north", ["1.2.1", "1.2.2"]) == before
    assert job_of(await documents[records.JOBS].find_one({}) or {}) == job_before
    assert {uid: decided.matches[0].runs for uid, decided in before.items()} == {"1.2.1": 1, "1.2.2": 0}


@pytest.mark.parametrize("on_request", [True, False])
async def test_an_old_decision_can_be_asked_for_before_it_is_migrated_and_is_asked_for_once(
    stack, documents, on_request
):
    bus = Bus(settings_of(stack.environment()))
    collection = documents[records.ROUTINGS]
    routings = Routings(collection, OutboxRelay(bus, [collection]))
    await collection.insert(old_routing(1, on_request=on_request))
    decided = (await routings.newest("north", ["1.2.1"]))["1.2.1"]
    asked = {match.place: match.next_job("north") for match in decided.wanted(recompute=True)}

    pushed = [await routings.push(decided, asked, []) for _ in range(2)]
    await Migrator(documents, MIGRATIONS).run(Pace())

    assert pushed == [True, False]
    kept = await collection.find_one({})
    assert kept is not None
    assert kept["decisions"][0]["runs"] == (1 if on_request else 2)


async def test_a_migration_that_is_killed_in_the_middle_goes_on_where_it_stopped(documents, command):
    await documents[records.ROUTINGS].insert_many([old_routing(number) for number in range(300)])

    async def begun() -> bool | None:
        return (await standing_of(documents, "0001")).changed > 20 or None

    first = command("migrate", "--batch", "5", "--pause-s", "0.1")
    await until(begun, timeout_s=60, what="a migration in the middle")
    first.kill()
    first.wait()
    middle = await standing_of(documents, "0001")
    assert middle.state == "running"
    assert 0 < middle.old < 300
    behind = (await documents[records.MIGRATIONS].find_one({"_id": middle.name}) or {})["behind"]
    with pytest.raises(MigrationHeldError):  # for all that can be known, it may still live
        await Migrator(documents, MIGRATIONS).run(Pace())
    await documents[records.MIGRATIONS].update({"_id": middle.name}, {"$set": {"until": AT}})  # its time is over
    second = command("migrate", "--json")
    told, _ = await asyncio.to_thread(second.communicate, timeout=60)

    assert behind is not None
    assert second.returncode == 0
    assert [(each["state"], each["old"]) for each in json.loads(told)] == [("done", 0), ("done", 0)]
    assert await documents[records.ROUTINGS].count({"decisions.0.runs": 1, "decisions.1.runs": 0}) == 300


async def test_what_the_release_before_writes_after_a_migration_is_found_by_the_next(documents, command):
    await documents[records.ROUTINGS].insert(old_routing(1))
    await Migrator(documents, MIGRATIONS).run(Pace())
    await documents[records.ROUTINGS].insert(old_routing(0))  # of an id that the first has passed

    left = command("migrate", "status", "--json")
    told, _ = await asyncio.to_thread(left.communicate, timeout=60)
    dry = command("migrate", "--dry-run", "--json")
    await asyncio.to_thread(dry.communicate, timeout=60)
    untouched = await standing_of(documents, "0001")
    await Migrator(documents, MIGRATIONS).run(Pace())

    assert (left.returncode, dry.returncode) == (1, 0)
    assert json.loads(told)[0]["state"] == "pending"
    assert untouched.old == 1
    assert (await standing_of(documents, "0001")).old == 0


async def test_of_many_replicas_one_runs_a_migration(documents):
    await documents[records.ROUTINGS].insert_many([old_routing(number) for number in range(20)])

    ended = await asyncio.gather(
        *(Migrator(documents, MIGRATIONS).run(Pace(batch=2, pause_s=0.05)) for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(each, MigrationHeldError) for each in ended) == 4
    assert (await standing_of(documents, "0001")).changed == 20
