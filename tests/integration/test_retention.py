"""Purging on a real database and a real object store: complete, resumable, and nothing else is touched."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
import requests
import yaml
from radbus_cli.audit import audit_in
from radbus_cli.audit_subjects import NothingFoundError
from radbus_cli.purging import AnotherOpenError, Purging
from radbus_contracts.facts import Dialect, Source
from radbus_contracts.identity import inference_id, outcome_id, record_id
from radbus_contracts.topology import EVENTS
from radbus_ingest.adapters.records import BeingPurgedError, InstanceRecords, SeriesRecords, StudyRecords, Touch
from radbus_results.adapters.cases import CASE_INDEXES
from radbus_results.adapters.inferences import INFERENCE_INDEXES
from radbus_router.adapters.routings import ROUTING_INDEXES
from radbus_runtime.audit.codes import READ_TRAIL
from radbus_runtime.retention.locks import StudyLock
from radbus_runtime.retention.order import EVERYTHING, Kind, Order, Plan, What
from radbus_runtime.retention.policy import RetentionPolicy, load_policy
from radbus_runtime.retention.purger import Purger
from radbus_runtime.retention.purges import ClaimLostError, Purges
from radbus_runtime.retention.sweeping import RetentionSweep
from radbus_runtime.webhooks.deliveries import DELIVERY_INDEXES
from radbus_scheduler.adapters.jobs import JOB_INDEXES
from radbus_scheduler.adapters.leases import Leases
from radbus_storage import records
from radbus_storage.documents import Collection, Documents
from radbus_storage.errors import StoreUnavailableError
from radbus_storage.objects import ObjectEntry, ObjectStore
from radbus_testing.programs import service_running, settings_of
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

RADBUS = Path(sys.executable).parent / "radbus"
LONG_AGO = datetime.now(UTC) - timedelta(days=1000)
YEAR = timedelta(days=365)
OF_A_STUDY = (
    records.INSTANCES,
    records.SERIES,
    records.STUDIES,
    records.ROUTINGS,
    records.JOBS,
    records.INFERENCES,
    records.CASES,
    records.DELIVERIES,
)


CHANGING = {"insert", "insert_many", "update", "update_many", "update_and_get", "delete"}


class KilledError(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass
class Life:
    """How many calls a process makes that change something before it dies; None: it lives."""

    calls: int | None = None
    made: int = 0

    def spend(self) -> None:
        if self.calls is not None and self.made >= self.calls:
            raise KilledError
        self.made += 1


@dataclass
class Objects:
    """The object store, as a process sees it that may die."""

    store: ObjectStore
    life: Life = field(default_factory=Life)

    async def entries(self, prefix: str, *, limit: int) -> list[ObjectEntry]:
        return await self.store.entries(prefix, limit=limit)

    async def drop_uploads(self, prefix: str) -> int:
        self.life.spend()
        return await self.store.drop_uploads(prefix)

    async def delete(self, key: str) -> None:
        self.life.spend()
        await self.store.delete(key)


@dataclass
class MortalDocuments:
    """The database, as a process sees it that may die."""

    documents: Documents
    life: Life

    def __getitem__(self, name: str) -> Any:
        return MortalCollection(self.documents[name], self.life)

    async def now(self) -> datetime:
        return await self.documents.now()


@dataclass
class MortalCollection:
    """A collection of which each call that changes something may be the one that is not made any more."""

    collection: Collection
    life: Life

    def __getattr__(self, name: str) -> Any:
        if name in CHANGING:
            self.life.spend()
        return getattr(self.collection, name)


@dataclass
class Trail:
    """An audit trail in memory."""

    told: list[tuple[str, str, str]] = field(default_factory=list)

    async def study_deleted(self, *, institution: str, user: str, plan: Plan) -> None:
        self.told.append((institution, user, plan.order.subject_uid))


@dataclass
class Archive:
    """What a hospital has stored, written as the services write it."""

    documents: Documents
    objects: ObjectStore
    institution: str

    async def study(self, *use_cases: str, instances: int = 3, ended_at: datetime = LONG_AGO) -> tuple[str, str]:
        """Store a study of one series with a finished job for each use case; return their UIDs."""
        study, series = f"2.25.{uuid4().int}", f"2.25.{uuid4().int}"
        head = {"institution": self.institution, "study_instance_uid": study}
        for number in range(instances):
            await self.instance(study, series, f"{series}.{number}")
        job_ids = [str(uuid4()) for _ in use_cases]
        state = {"state": "complete", "touches": 1, "quiet_at": ended_at, "revision": 1, "outbox": []}
        named = {"series_instance_uid": series, "elements": {"PatientName": "MARKED"}, "all": {"PatientID": ["MARKED"]}}
        counted = {"instance_count": instances, "instances_digest": "d"}
        await self._add(records.SERIES, record_id(self.institution, series), {**head, **state, **named, **counted})
        routing = {"subject_uid": series, "revision": 1, "job_ids": job_ids, "decided_at": ended_at, "outbox": []}
        await self._add(records.ROUTINGS, f"{record_id(self.institution, series)}/1", {**head, **routing})
        for job, use_case in zip(job_ids, use_cases, strict=True):
            await self._job(head, series, job, use_case, ended_at)
            told = {"series_instance_uids": [series], "state": "delivered"}
            await self._add(records.DELIVERIES, f"webhook/{job}", {**head, **told})
        jobs = {job: {"completed": {"inference_id": inference_id(job)}} for job in job_ids}
        case = {"series_instance_uid": series, "revision": 1, "jobs": jobs}
        await self._add(records.CASES, record_id(self.institution, series), {**head, **case})
        await self._add(records.WISHES, record_id(self.institution, study), {"institution": self.institution})
        await self.put(f"{self.institution}/archives/{series}/x.zip")
        # Last, since it is what a sweep looks at.
        await self._add(records.STUDIES, record_id(self.institution, study), {**head, **state, "series_digest": "d"})
        return study, series

    async def neighbour(self, study: str) -> None:
        """Add a series to a study that no job has seen."""
        series = f"2.25.{uuid4().int}"
        await self.instance(study, series, f"{series}.0")
        told = {"state": "complete", "touches": 1, "quiet_at": LONG_AGO, "revision": 0, "outbox": []}
        about = {"institution": self.institution, "study_instance_uid": study, "series_instance_uid": series}
        await self._add(records.SERIES, record_id(self.institution, series), {**about, **told})

    async def instance(self, study: str, series: str, uid: str) -> str:
        key = f"{self.institution}/instances/{study}/{series}/{uid}.{'0' * 16}.dcm"
        await self.put(key)
        record = {
            "institution": self.institution,
            "study_instance_uid": study,
            "series_instance_uid": series,
            "sop_instance_uid": uid,
            "object_key": key,
            "size_bytes": 4,
            "sha256": "0" * 64,
            "elements": {},
        }
        await self._add(records.INSTANCES, record_id(self.institution, uid), record)
        return key

    async def put(self, key: str) -> None:
        await self.objects.put(key, b"data", size_bytes=4)

    async def left(self, study: str) -> dict[str, int]:
        """Count what is left of a study, by collection; and objects of the institution."""
        where = {"institution": self.institution, "study_instance_uid": study}
        counts = {name: await self.documents[name].count(where) for name in OF_A_STUDY}
        return {name: count for name, count in counts.items() if count}

    async def keys(self) -> list[str]:
        return await self.objects.keys(f"{self.institution}/", limit=1000)

    async def everything(self) -> dict[str, list[Any]]:
        """Read all records and keys of the institution, to be compared."""
        found: dict[str, list[Any]] = {"keys": sorted(await self.keys())}
        for name in (*OF_A_STUDY, records.OUTCOMES, records.WISHES):
            read = await self.documents[name].find({"institution": self.institution}, limit=1000, sort=(("_id", 1),))
            found[name] = read
        return found

    async def _job(self, head: dict[str, Any], series: str, job: str, use_case: str, ended_at: datetime) -> None:
        about = {**head, "use_case": use_case, "subject_uid": series, "revision": 1, "series_instance_uids": [series]}
        times = {"requested_at": ended_at, "finished_at": ended_at}
        await self._add(records.JOBS, job, {**about, **times, "state": "completed", "tasks": [], "outbox": []})
        keys = [f"{self.institution}/derived/{job}/lungs/1/{name}" for name in ("seg.dcm", "labels.npz")]
        for key in keys:
            await self.put(key)
        found = {"summary": "A finding.", "values": {"a": 1}, "findings": [{"a": 1}], "files": {"seg": keys}}
        outcome = {"institution": self.institution, "job_id": job, **found, "outbox": []}
        await self._add(records.OUTCOMES, outcome_id(job, "lungs", 1), outcome)
        await self.documents[records.LEASES].insert(
            {"_id": f"{job}/lungs", "attempt": 1, "until": ended_at, "released": True}
        )
        inference = {**about, "job_id": job, **found, "completed_at": ended_at, "outbox": []}
        await self._add(records.INFERENCES, inference_id(job), inference)

    async def _add(self, name: str, document_id: str, document: dict[str, Any]) -> None:
        await self.documents[name].insert({"_id": document_id, **document})


@dataclass
class Site:
    """The stores, and what purges in them."""

    documents: Documents
    objects: ObjectStore
    trail: Trail = field(default_factory=Trail)

    @property
    def purges(self) -> Purges:
        return Purges(self.documents)

    def archive(self) -> Archive:
        return Archive(self.documents, self.objects, f"hospital-{uuid4().hex[:10]}")

    def purger(self, policy: RetentionPolicy | None = None) -> Purger:
        return Purger(self.documents, Objects(self.objects), policy=policy or RetentionPolicy(), audit=self.trail)

    def sweep(self, policy: RetentionPolicy) -> RetentionSweep:
        return RetentionSweep(
            self.documents, self.purges, self.purger(policy), policy=policy, every_s=1, round_limit=100
        )

    async def purge(self, order: Order) -> dict[str, Any]:
        purge_id, _ = await self.purges.ask(order)
        claim = await self.purges.claim(purge_id)
        assert claim is not None
        await self.purger().run(claim)
        return await self.record(purge_id)

    async def live(self, purge_id: str, life: Life) -> bool:
        """Carry out a purge in a process that may die; return whether it lived to the end."""
        documents: Any = MortalDocuments(self.documents, life)
        claim = await self.purges.claim(purge_id)
        claim.purges = Purges(documents)
        purger = Purger(documents, Objects(self.objects, life), policy=RetentionPolicy(), audit=self.trail)
        try:
            await purger.run(claim)
        except KilledError:
            return False
        return True

    async def locked(self, institution: str) -> list[str]:
        """Return the ids of the studies and series that a purge has."""
        where = {"institution": institution, "purge": {"$ne": None}}
        found = [await self.documents[name].find(where, limit=10) for name in (records.STUDIES, records.SERIES)]
        return [each["_id"] for page in found for each in page]

    async def record(self, purge_id: str) -> dict[str, Any]:
        found = await self.documents[records.PURGES].find_one({"_id": purge_id})
        assert found is not None
        return found

    async def free(self, purge_id: str) -> None:
        """Let the lease of one who died run out."""
        change = {"lease.until": LONG_AGO, "try_at": LONG_AGO}
        assert await self.documents[records.PURGES].update({"_id": purge_id}, {"$set": change})


@pytest.fixture(scope="module")
def environment(stack) -> dict[str, str]:
    """The test's servers, with a database of these tests' own."""
    return {**stack.environment(), "RADBUS_MONGO_DATABASE": "radbus-retention"}


@pytest.fixture
async def site(environment) -> AsyncIterator[Site]:
    settings = settings_of(environment)
    documents, objects = Documents(settings.documents), ObjectStore(settings.objects)
    await objects.ensure_bucket()
    site = Site(documents, objects)
    for owned in (InstanceRecords(documents), SeriesRecords(documents), StudyRecords(documents), site.purges):
        await owned.collection.ensure_indexes(owned.indexes)
    for name, indexes in (
        (records.CASES, CASE_INDEXES),
        (records.INFERENCES, INFERENCE_INDEXES),
        (records.ROUTINGS, ROUTING_INDEXES),
        (records.JOBS, JOB_INDEXES),
        (records.DELIVERIES, DELIVERY_INDEXES),
    ):
        await documents[name].ensure_indexes(indexes)
    yield site
    for name in (records.PURGES, records.SWEEPS, records.STUDIES, records.RUNS):
        await documents[name].delete({})
    objects.close()
    documents.close()


@pytest.fixture
def policy(tmp_path) -> Callable[[dict[str, Any]], RetentionPolicy]:
    def make(content: dict[str, Any]) -> RetentionPolicy:
        path = tmp_path / "retention.yaml"
        path.write_text(yaml.safe_dump(content))
        return load_policy(path)

    return make


def order(
    archive: Archive,
    uid: str,
    *,
    kind: Kind = Kind.STUDY,
    study: str | None = None,
    what: tuple[What, ...] = EVERYTHING,
) -> Order:
    return Order(
        institution=archive.institution,
        kind=kind,
        subject_uid=uid,
        study_instance_uid=study or uid,
        what=what,
        by="operator@host",
        reason="asked for",
    )


async def test_nothing_is_left_of_a_purged_study_and_nothing_of_others_is_touched(site):
    archive, other = site.archive(), site.archive()
    study, _ = await archive.study("qct", "tb")
    neighbour, _ = await archive.study("qct")
    await other.study("qct")
    kept = await other.everything()

    record = await site.purge(order(archive, study))

    assert record["state"] == "finished", record["waits_for"]
    assert await archive.left(study) == {}
    assert set(await archive.left(neighbour)) == set(OF_A_STUDY)
    assert len(await archive.keys()) == 3 + 2 + 1
    assert await site.documents[records.OUTCOMES].count({"institution": archive.institution}) == 1
    assert await site.documents[records.WISHES].count({"institution": archive.institution}) == 1
    assert await other.everything() == kept
    assert record["counts"] == {"instances": 3, "bytes": 12, "outputs": 4, "archives": 1, "records": 14}
    assert site.trail.told == [(archive.institution, "operator@host", study)]
    assert "MARKED" not in str(record)


async def test_a_purge_tells_subscribers_of_the_study_and_of_each_inference(site):
    archive = site.archive()
    study, series = await archive.study("qct", "tb")

    record = await site.purge(order(archive, study))

    told = [json.loads(entry["body"]) for entry in record["outbox"]]
    assert sorted(each["type"] for each in told) == [
        "radbus.inference.purged.v1",
        "radbus.inference.purged.v1",
        "radbus.study.purged.v1",
    ]
    [of_study] = [each for each in told if each["subject"] == study]
    assert of_study["institution"] == archive.institution
    assert of_study["data"]["series_instance_uids"] == [series]
    assert of_study["data"]["records"] is True


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (Kind.STUDY, EVERYTHING),
        (Kind.STUDY, (What.INPUTS,)),
        (Kind.STUDY, (What.OUTPUTS,)),
        (Kind.SERIES, EVERYTHING),
        (Kind.SERIES, (What.INPUTS,)),
    ],
    ids=["everything", "inputs", "outputs", "a series", "a series' inputs"],
)
async def test_whoever_dies_at_any_step_the_next_one_ends_with_nothing_left_and_nothing_locked(site, kind, what):
    at_a_time = asyncio.Semaphore(8)

    async def purge(life: Life) -> tuple[dict[str, int], int]:
        """Purge in a process that may die, and in another that goes on; return what is left."""
        async with at_a_time:
            archive = site.archive()
            study, series = await archive.study("qct", instances=2)
            await archive.neighbour(study)
            subject = study if kind is Kind.STUDY else series
            purge_id, _ = await site.purges.ask(order(archive, subject, kind=kind, study=study, what=what))
            lived = await site.live(purge_id, life)
            there = await site.documents[records.INSTANCES].find({"study_instance_uid": study}, limit=10)
            named = {each["object_key"] for each in there}
            unnamed = [key for key in await archive.keys() if "/instances/" in key and key not in named]
            if not lived:
                await site.free(purge_id)
                await site.purger().run(await site.purges.claim(purge_id))

            ended = await site.record(purge_id)
            assert ended["state"] == "finished", f"dead after {life}: {ended['waits_for']}"
            assert unnamed == [], "an object goes before the record that names it"
            assert await site.locked(archive.institution) == [], f"dead after {life}"
            left = await archive.left(study), len(await archive.keys())
            await touch(site, archive, study, series)  # an instance that comes later is taken
            return left

    whole = Life()
    expected = await purge(whole)
    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(purge(Life(calls))) for calls in range(whole.made)]

    assert whole.made > 5
    assert all(each.result() == expected for each in lives), "it is the same wherever one dies"
    assert (expected == ({}, 0)) == (kind is Kind.STUDY and what is EVERYTHING)


async def test_of_two_replicas_one_purges_and_whoever_lost_it_erases_nothing_more(site):
    archive = site.archive()
    study, _ = await archive.study("qct")
    purge_id, _ = await site.purges.ask(order(archive, study))

    claims = await asyncio.gather(*(site.purges.claim() for _ in range(5)))
    [slow] = [claim for claim in claims if claim is not None]
    await site.free(purge_id)
    fast = await site.purges.claim()
    with pytest.raises(ClaimLostError):
        await slow.note({})
    slow.taken_at -= 1000
    await site.purger().run(slow)
    untouched = await archive.left(study)
    await site.purger().run(fast)

    assert set(untouched) == set(OF_A_STUDY)
    assert (await site.record(purge_id))["state"] == "finished"
    assert len(site.trail.told) == 1


async def test_the_same_subject_is_purged_once_however_often_it_is_asked_for(site):
    archive = site.archive()
    study, _ = await archive.study("qct")

    asked = await asyncio.gather(*(site.purges.ask(order(archive, study)) for _ in range(10)))

    assert len({purge_id for purge_id, _ in asked}) == 1
    assert [is_new for _, is_new in asked].count(True) == 1


async def test_a_wider_purge_than_the_one_that_is_open_is_refused_and_done_once_that_can_end(site):
    archive, purging = site.archive(), Purging(site.documents, site.objects)
    study, _ = await archive.study("qct")
    jobs = site.documents[records.JOBS]
    await jobs.update({"study_instance_uid": study}, {"$set": {"state": "active"}})
    narrow = await site.purge(order(archive, study, what=(What.OUTPUTS,)))

    with pytest.raises(AnotherOpenError, match=f"not recorded: purge {narrow['_id']} of study {study} is open"):
        await purging.purge(order(archive, study))
    same = await purging.purge(order(archive, study, what=(What.OUTPUTS,)))
    await jobs.update({"study_instance_uid": study}, {"$set": {"state": "completed"}})
    wide = await purging.purge(order(archive, study))

    assert same["_id"] == narrow["_id"]
    assert (await site.record(narrow["_id"]))["state"] == "finished"
    assert wide["state"] == "finished", wide["waits_for"]
    assert await archive.left(study) == {}


async def test_a_purge_of_more_old_studies_than_its_limit_says_so(site, environment):
    archive = site.archive()
    studies = [(await archive.study("qct", ended_at=LONG_AGO + timedelta(days=number)))[0] for number in range(3)]

    def purge(*options: str) -> tuple[dict[str, Any], str]:
        named = ("purge", "--institution", archive.institution, "--older-than", "400d", "--inputs", "--json")
        done = subprocess.run(
            [RADBUS, *named, *options],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return json.loads(done.stdout), done.stderr

    shown, of_shown = await asyncio.to_thread(purge, "--dry-run", "--limit", "2")
    some, of_some = await asyncio.to_thread(purge, "--yes", "--limit", "2")
    whole, of_whole = await asyncio.to_thread(purge, "--yes", "--limit", "3")

    assert ([each["uid"] for each in shown["would_erase"]], shown["more"]) == (studies[:2], True)
    assert ([each["subject_uid"] for each in some["purges"]], some["more"]) == (studies[:2], True)
    assert ([each["subject_uid"] for each in whole["purges"]], whole["more"]) == (studies, False)
    assert ["raise --limit" in said for said in (of_shown, of_some, of_whole)] == [True, True, False]


async def test_an_audit_finds_a_study_of_which_no_record_is_left_and_is_in_the_trail_itself(site, environment):
    archive, purging = site.archive(), Purging(site.documents, site.objects)
    study, series = await archive.study("qct")
    await purging.purge(order(archive, study))

    [of_study] = await audit_in(environment, study)
    [of_series] = await audit_in(environment, series, institution=archive.institution)

    told = [entry.what for entry in of_study.entries]
    assert (of_study.subject.kind, of_series.subject.kind) == ("study", "series")
    assert "study purged (inputs, outputs, records): finished" in told
    for uid in (study, series):
        reads = {"objects.uid": uid, "event.id": READ_TRAIL.event.value, "institution": archive.institution}
        assert await site.documents.audit.count(reads) == 1
    with pytest.raises(NothingFoundError):
        await audit_in(environment, study, institution="another")


async def test_erased_inputs_leave_the_result_and_no_header_and_the_same_again_is_the_next_revision(site):
    archive = site.archive()
    study, series = await archive.study("qct")

    record = await site.purge(order(archive, study, what=(What.INPUTS,)))

    kept = await site.documents[records.SERIES].find_one({"_id": record_id(archive.institution, series)})
    inference = await site.documents[records.INFERENCES].find_one({"study_instance_uid": study})
    assert record["state"] == "finished"
    assert kept["state"] == "erased"
    assert (kept["elements"], kept["all"], kept["instances_digest"], kept["revision"]) == ({}, {}, "", 1)
    assert "purge" not in kept
    assert inference["summary"] == "A finding."
    assert "erased_at" not in inference
    assert all("/derived/" in key for key in await archive.keys())
    assert len(await archive.keys()) == 2


async def test_erased_outputs_leave_an_inference_that_says_so_and_the_instances(site):
    archive = site.archive()
    study, _ = await archive.study("qct")

    await site.purge(order(archive, study, what=(What.OUTPUTS,)))

    inference = await site.documents[records.INFERENCES].find_one({"study_instance_uid": study})
    assert inference["erased_at"] is not None
    assert (inference["summary"], inference["values"], inference["findings"], inference["files"]) == ("", {}, [], {})
    assert len([key for key in await archive.keys() if "/instances/" in key]) == 3
    assert not [key for key in await archive.keys() if "/derived/" in key]
    study_record = await site.documents[records.STUDIES].find_one({"_id": record_id(archive.institution, study)})
    assert study_record["state"] == "complete"


async def test_the_scheduler_sees_of_which_jobs_something_was_erased(site):
    archive = site.archive()
    study, _ = await archive.study("qct")
    kept, _ = await archive.study("qct")

    await site.purge(order(archive, study, what=(What.OUTPUTS,)))

    leases = Leases(site.documents[records.LEASES], site.documents[records.OUTCOMES])
    jobs = {uid: await site.documents[records.JOBS].find_one({"study_instance_uid": uid}) for uid in (study, kept)}
    seen = {uid: await leases.has_erased(archive.institution, job["_id"]) for uid, job in jobs.items()}
    assert seen == {study: True, kept: False}


async def test_one_series_goes_and_the_rest_of_its_study_stays(site):
    archive = site.archive()
    study, series = await archive.study("qct")
    await archive.instance(study, "1.2.77", "1.2.77.1")

    record = await site.purge(order(archive, series, kind=Kind.SERIES, study=study))

    assert record["state"] == "finished", record["waits_for"]
    assert await archive.left(study) == {records.INSTANCES: 1, records.STUDIES: 1}
    assert await archive.keys() == [f"{archive.institution}/instances/{study}/1.2.77/1.2.77.1.{'0' * 16}.dcm"]


async def test_a_study_that_is_under_process_is_not_touched_and_the_reason_is_kept(site):
    archive = site.archive()
    study, series = await archive.study("qct")
    await site.documents[records.JOBS].update({"study_instance_uid": study}, {"$set": {"state": "active"}})
    before = await archive.everything()

    record = await site.purge(order(archive, study))

    after = await archive.everything()
    assert record["state"] == "waiting"
    assert "under process" in record["waits_for"]
    assert after == before
    # What arrives meanwhile is taken: nothing is being erased.
    await touch(site, archive, study, series)
    assert not await site.purges.overlapped(archive.institution, study, last_s=60)


async def touch(site: Site, archive: Archive, study: str, series: str) -> None:
    """Do what ingest does when it has recorded an instance."""
    told = Touch(archive.institution, study, Source(dialect=Dialect.UPLOAD), 0)
    await StudyRecords(site.documents).touch(told)
    await SeriesRecords(site.documents).touch(told, series, "CT")


async def test_an_instance_that_arrives_during_the_purge_is_refused_and_nothing_of_it_is_left(site):
    archive = site.archive()
    study, series = await archive.study("qct")
    purge_id, _ = await site.purges.ask(order(archive, study))
    claim = await site.purges.claim(purge_id)
    refused = []

    @dataclass
    class Slow(Objects):
        """Something arrives behind the purge's back, when it erases the archives, that is after the instances."""

        async def entries(self, prefix: str, *, limit: int) -> list[ObjectEntry]:
            if "/archives/" in prefix and not refused:
                await archive.instance(study, series, f"{series}.99")
                try:
                    await touch(site, archive, study, series)
                except BeingPurgedError as error:
                    refused.append(error)
            return await super().entries(prefix, limit=limit)

    await Purger(site.documents, Slow(site.objects), policy=RetentionPolicy(), audit=site.trail).run(claim)

    assert len(refused) == 1
    assert (await site.record(purge_id))["state"] == "finished"
    assert await archive.left(study) == {}
    assert await archive.keys() == []
    # And the request that it came with is not accepted afterwards either, while a later one is.
    assert await site.purges.overlapped(archive.institution, study, last_s=60)
    assert not await site.purges.overlapped(archive.institution, study, last_s=0)
    await touch(site, archive, study, series)


@dataclass
class Interrupted(Objects):
    """Something happens once behind the purge's back, when it erases the archives, that is after the outputs."""

    happens: Callable[[], Awaitable[None]] | None = None

    async def entries(self, prefix: str, *, limit: int) -> list[ObjectEntry]:
        if "/archives/" in prefix and self.happens is not None:
            happens, self.happens = self.happens, None
            await happens()
        return await super().entries(prefix, limit=limit)


@pytest.mark.parametrize("what", [EVERYTHING, (What.INPUTS, What.OUTPUTS)], ids=["everything", "records stay"])
async def test_a_job_that_is_asked_for_during_the_purge_is_erased_when_it_has_ended(site, what):
    archive = site.archive()
    study, series = await archive.study("qct")
    head, job = {"institution": archive.institution, "study_instance_uid": study}, str(uuid4())
    purge_id, _ = await site.purges.ask(order(archive, study, what=what))

    async def ask_for_job() -> None:
        await archive._job(head, series, job, "tb", LONG_AGO)
        await site.documents[records.JOBS].update({"_id": job}, {"$set": {"state": "active"}})

    objects = Interrupted(site.objects, happens=ask_for_job)
    purger = Purger(site.documents, objects, policy=RetentionPolicy(), audit=site.trail)
    await purger.run(await site.purges.claim(purge_id))
    waiting = await site.record(purge_id)
    with pytest.raises(BeingPurgedError):
        await touch(site, archive, study, series)
    await site.documents[records.JOBS].update({"_id": job}, {"$set": {"state": "completed"}})
    await site.free(purge_id)
    await purger.run(await site.purges.claim(purge_id))

    ended = await site.record(purge_id)
    told = [json.loads(each["body"])["data"].get("job_id") for each in ended["outbox"]]
    assert (waiting["state"], waiting["open"]) == ("erasing", True)
    assert waiting["waits_for"] == f"the job {job} is under process"
    assert ended["state"] == "finished", ended["waits_for"]
    assert job in told
    assert await archive.keys() == []
    left = await site.documents[records.OUTCOMES].find({"institution": archive.institution}, limit=10)
    assert not left if What.RECORDS in what else {each["summary"] for each in left} == {""}


async def test_what_was_touched_first_is_not_purged(site):
    archive = site.archive()
    study, series = await archive.study("qct")
    await touch(site, archive, study, series)

    record = await site.purge(order(archive, study))

    assert record["state"] == "waiting"
    assert set(await archive.left(study)) == set(OF_A_STUDY)


async def test_an_object_that_may_yet_be_recorded_is_not_erased_and_the_purge_says_what_it_waits_for(site):
    archive = site.archive()
    study, series = await archive.study("qct")
    being_stored = f"{archive.institution}/instances/{study}/{series}/1.9.{'1' * 16}.dcm"
    await archive.put(being_stored)

    record = await site.purge(order(archive, study))

    assert record["state"] == "erasing"
    assert "objects that may be of an instance being stored" in record["waits_for"]
    assert await archive.keys() == [being_stored]
    with pytest.raises(BeingPurgedError):
        await touch(site, archive, study, series)

    @dataclass
    class Later(Objects):
        """The store, when nobody can be storing that instance any more."""

        async def entries(self, prefix: str, *, limit: int) -> list[ObjectEntry]:
            there = await super().entries(prefix, limit=limit)
            return [replace(entry, modified_at=LONG_AGO) for entry in there]

    await site.free(record["_id"])
    claim = await site.purges.claim()
    await Purger(site.documents, Later(site.objects), policy=RetentionPolicy(), audit=site.trail).run(claim)

    assert (await site.record(record["_id"]))["state"] == "finished"
    assert await archive.keys() == []


async def test_a_store_that_is_away_puts_a_purge_off_and_it_ends_when_the_store_is_back(site):
    archive = site.archive()
    study, _ = await archive.study("qct")

    @dataclass
    class Away(Objects):
        async def delete(self, key: str) -> None:
            raise StoreUnavailableError("the object store is away")

    purge_id, _ = await site.purges.ask(order(archive, study))
    claim = await site.purges.claim(purge_id)
    await Purger(site.documents, Away(site.objects), policy=RetentionPolicy(), audit=site.trail).run(claim)
    put_off = await site.record(purge_id)
    too_soon = await site.purges.claim()
    await site.free(purge_id)
    await site.purger().run(await site.purges.claim())

    assert put_off["waits_for"] == "the object store is away"
    assert too_soon is None
    assert await archive.left(study) == {}


async def test_the_sweep_erases_what_is_due_by_use_case_and_institution_and_nothing_else(site, policy):
    ours, theirs = site.archive(), site.archive()
    shared, _ = await ours.study("qct", "tb")
    recent, _ = await ours.study("qct", ended_at=datetime.now(UTC) - timedelta(days=5))
    elsewhere, _ = await theirs.study("qct")
    kept = policy(
        {
            "use_cases": {"tb": {"inputs_days": 4000}, "qct": {"outputs_days": 30}},
            "institutions": {
                ours.institution: {"use_cases": {"qct": {"inputs_days": 30}, "tb": {"inputs_days": 4000}}}
            },
        }
    )

    await site.sweep(kept).sweep_once()

    of_shared = await site.documents[records.INFERENCES].find({"study_instance_uid": shared}, limit=5)
    assert {each["use_case"]: "erased_at" in each for each in of_shared} == {"qct": True, "tb": False}
    assert await site.documents[records.INSTANCES].count({"study_instance_uid": shared}) == 3
    assert await site.documents[records.INSTANCES].count({"study_instance_uid": recent}) == 3
    assert await site.documents[records.INSTANCES].count({"study_instance_uid": elsewhere}) == 3
    [of_recent] = await site.documents[records.INFERENCES].find({"study_instance_uid": recent}, limit=5)
    assert "erased_at" not in of_recent
    looked_at = await site.documents[records.STUDIES].find({}, limit=10, only={"look_at": 1})
    assert all(each["look_at"] > datetime.now(UTC) for each in looked_at)

    shorter = policy({"default": {"inputs_days": 100, "outputs_days": 100, "records_days": 100}})
    other_replica = site.sweep(shorter)
    await other_replica.sweep_once()
    not_its_turn = await ours.left(shared)
    await site.documents[records.SWEEPS].update({}, {"$set": {"until": LONG_AGO}})
    await other_replica.sweep_once()

    assert set(not_its_turn) == set(OF_A_STUDY)
    assert await ours.left(shared) == {}
    assert await theirs.left(elsewhere) == {}
    assert set(await ours.left(recent)) == set(OF_A_STUDY)


async def test_the_sweep_gives_back_what_a_purge_has_locked_that_is_closed_and_nothing_that_is_open(site):
    forgotten, held = site.archive(), site.archive()
    study, series = await forgotten.study("qct")
    other, _ = await held.study("qct")
    locks = StudyLock(site.documents, forgotten.institution, study, "a purge of before the restore")
    assert await locks.take()
    # As a backup has it that copied the series before its purge ended, and the purge after.
    open_id, _ = await site.purges.ask(order(held, other))
    assert await StudyLock(site.documents, held.institution, other, open_id).take()
    await site.documents[records.PURGES].update({"_id": open_id}, {"$set": {"try_at": datetime.now(UTC) + YEAR}})
    with pytest.raises(BeingPurgedError):
        await touch(site, forgotten, study, series)

    await site.sweep(RetentionPolicy()).sweep_once()

    await touch(site, forgotten, study, series)
    assert await site.locked(forgotten.institution) == []
    assert len(await site.locked(held.institution)) == 2


async def test_a_policy_purge_is_withdrawn_when_something_has_come_since(site, policy):
    archive = site.archive()
    study, _ = await archive.study("qct")
    asked = order(archive, study, what=(What.INPUTS,))
    by_policy = Order(**{name: getattr(asked, name) for name in Order.__slots__} | {"by_policy": True})
    purge_id, _ = await site.purges.ask(by_policy)
    kept = policy({"default": {"inputs_days": 2000}})

    await site.purger(kept).run(await site.purges.claim(purge_id))

    assert (await site.record(purge_id))["state"] == "withdrawn"
    assert set(await archive.left(study)) == set(OF_A_STUDY)


async def test_no_collection_is_read_whole(site):
    archive = site.archive()
    study, _ = await archive.study("qct")
    forgotten, _ = await archive.study("qct")
    assert await StudyLock(site.documents, archive.institution, forgotten, "closed").take()
    database = site.documents._database
    await database.command({"profile": 2, "slowms": 0})
    try:
        await site.purge(order(archive, study))
        await site.sweep(RetentionPolicy()).sweep_once()
    finally:
        await database.command({"profile": 0})

    whole = await database["system.profile"].find({"planSummary": {"$regex": "COLLSCAN"}}).to_list(100)
    await database.drop_collection("system.profile")
    scanned = {each["ns"].partition(".")[2] for each in whole} - {"system.profile"}
    assert scanned == set()


async def test_the_service_erases_by_itself_what_is_due_tells_subscribers_and_counts_it(
    site, environment, stack, tmp_path
):
    archive = site.archive()
    await archive.study("qct")
    path = tmp_path / "retention.yaml"
    path.write_text(yaml.safe_dump({"institutions": {archive.institution: {"inputs_days": 30}}}))
    keeping = {**environment, "RADBUS_RETENTION_FILE": str(path), "RADBUS_RETENTION_EVERY_S": "0.2"}
    heard: list[dict[str, Any]] = []

    async def listen(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        heard.append(json.loads(message.body))

    with service_running("results", keeping, port=stack.layout.port("results"), log=tmp_path / "results.log") as url:
        connection = await aio_pika.connect(environment["RADBUS_AMQP_URL"])
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(EVENTS, "study.purged.v1")
            await queue.consume(listen, no_ack=True)
            # It may have been looked at before there was a subscriber: one more is due from here on.
            later, _ = await archive.study("qct")

            async def told() -> dict[str, Any] | None:
                return next((each for each in heard if each["subject"] == later), None)

            event = await until(told, timeout_s=30, what="study.purged")
        metrics = await asyncio.to_thread(lambda: requests.get(f"{url}/metrics", timeout=5).text)

    assert event["data"]["by_policy"] is True
    assert event["data"]["records"] is False
    assert await site.documents[records.INSTANCES].count({"institution": archive.institution}) == 0
    assert await site.documents[records.INFERENCES].count({"institution": archive.institution}) == 2
    assert 'radbus_purged_total{what="instances"} 6.0' in metrics
    assert "radbus_purge_oldest_overdue_seconds 0.0" in metrics


def test_a_service_with_a_policy_that_does_not_hold_does_not_start(environment, tmp_path):
    path = tmp_path / "retention.yaml"
    path.write_text("default: {inputs_days: often}")
    given = {**os.environ, **environment, "RADBUS_RETENTION_FILE": str(path)}

    ended = subprocess.run(
        [sys.executable, "-m", "radbus_results"], env=given, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 1
    assert "default.inputs_days: expected a whole number of days" in ended.stderr
