"""The count at the end of every fault: accepted = completed + failed with its reason, nothing lost, nothing double.

`read` takes all that is written of one institution; `imbalances` compares it with what clients were answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radbus_cli.dead_letters import DeadLetter
from radbus_cli.dead_queues import DeadQueues, queue_names
from radbus_contracts.identity import RUN_USE_CASE, record_id
from radbus_contracts.topology import INFERENCE_COMPLETED, SERIES_COMPLETED
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.errors import ObjectMissingError
from radbus_storage.objects import ObjectStore
from radbus_testing.programs import settings_of

_LIMIT = 100_000
_STABLE_S = 0.5
_POLL_S = 0.25
_ENDED = ("completed", "failed", "cancelled")
_WITH_OUTBOX = (
    records.SERIES,
    records.STUDIES,
    records.RUNS,
    records.ROUTINGS,
    records.JOBS,
    records.OUTCOMES,
    records.INFERENCES,
    records.CASES,
)

Document = Mapping[str, Any]


@dataclass(slots=True)
class Accepted:
    """What clients were answered with success: instances by SOPInstanceUID (their bytes), and ids of runs."""

    instances: dict[str, int] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Books:
    """All that is written of one institution, by collection and `_id`; objects by key with their sizes."""

    institution: str
    documents: Mapping[str, Mapping[str, Document]]
    objects: Mapping[str, int | None]  # of those that a record names; None is missing
    keys: frozenset[str]  # of all that the store has
    dead_letters: Sequence[DeadLetter]

    def __getitem__(self, collection: str) -> Mapping[str, Document]:
        return self.documents[collection]

    def states(self) -> dict[str, int]:
        """Count jobs by their state."""
        return dict(Counter(job["state"] for job in self[records.JOBS].values()))


async def read(environment: Mapping[str, str], institution: str) -> Books:
    """Read everything of an institution."""
    settings = settings_of(environment)
    documents, store = Documents(settings.documents), ObjectStore(settings.objects)
    try:
        found = {name: await _all(documents, name, {"institution": institution}) for name in _COLLECTIONS}
        keys = frozenset(await store.keys(f"{institution}/", limit=_LIMIT))
        objects = {key: await _size(store, key) if key in keys else None for key in _named(found)}
    finally:
        documents.close()
        store.close()
    return Books(institution, found, objects, keys, await dead_letters(environment, institution))


async def settle(
    environment: Mapping[str, str],
    institution: str,
    accepted: Accepted,
    *,
    told: Sequence[Document] | None = None,
    dead: int = 0,
    timeout_s: float = 60,
) -> Books:
    """Wait until the books balance and stay so, and return them; `told` is what a subscriber has heard.

    Raises:
        AssertionError: They did not in that time; the text says in what.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    balanced_at: float | None = None
    while True:
        books = await read(environment, institution)
        found = imbalances(books, accepted, told=told, dead=dead)
        if found:
            balanced_at = None
        elif balanced_at is None:
            balanced_at = loop.time()
        elif loop.time() - balanced_at >= _STABLE_S:
            return books
        if loop.time() > deadline:
            raise AssertionError("\n".join((f"{institution} does not balance after {timeout_s:.0f} s:", *found[:50])))
        await asyncio.sleep(_POLL_S)


def imbalances(books: Books, accepted: Accepted, *, told: Sequence[Document] | None = None, dead: int = 0) -> list[str]:
    """Say in what the books do not balance; nothing when all is well."""
    found = [
        *_of_instances(books, accepted),
        *_of_series(books),
        *_of_jobs(books, accepted),
        *_of_inferences(books),
        *(f"untold: {name} {_id}" for name in _WITH_OUTBOX for _id, each in books[name].items() if each.get("outbox")),
        *(_of_told(books, told) if told is not None else ()),
    ]
    if len(books.dead_letters) != dead:
        reasons = sorted(f"{letter.queue}: {letter.reason}" for letter in books.dead_letters)
        found.append(f"{len(reasons)} dead letters where {dead} are expected: {reasons}")
    return found


async def dead_letters(environment: Mapping[str, str], institution: str) -> list[DeadLetter]:
    """Read the dead letters that name an institution."""
    found: list[DeadLetter] = []
    async with DeadQueues.of(environment["RADBUS_AMQP_URL"]) as queues:
        for name in queue_names(Path(environment["RADBUS_MACHINES_DIR"])):
            async with queues.look(name, limit=1000) as letters:
                found += [each.letter async for each in letters if institution.encode() in each.message.body]
    return found


_COLLECTIONS = (records.INSTANCES, *_WITH_OUTBOX)


async def _all(documents: Documents, name: str, where: dict[str, Any]) -> dict[str, Document]:
    return {str(each["_id"]): each for each in await documents[name].find(where, limit=_LIMIT)}


async def _size(store: ObjectStore, key: str) -> int | None:
    try:
        return await store.size_bytes(key)
    except ObjectMissingError:
        return None


def _named(found: Mapping[str, Mapping[str, Document]]) -> Iterator[str]:
    yield from (each["object_key"] for each in found[records.INSTANCES].values())
    for outcome in found[records.OUTCOMES].values():
        for keys in outcome.get("files", {}).values():
            yield from keys


def _of_instances(books: Books, accepted: Accepted) -> Iterator[str]:
    recorded = {each["sop_instance_uid"]: each for each in books[records.INSTANCES].values()}
    recordings = Counter(each["sop_instance_uid"] for each in books[records.INSTANCES].values())
    yield from (f"double: instance {uid} is recorded {n} times" for uid, n in recordings.items() if n > 1)
    yield from (f"lost: instance {uid} was accepted" for uid in accepted.instances.keys() - recorded.keys())
    for uid, size_bytes in accepted.instances.items():
        if uid in recorded and recorded[uid]["size_bytes"] != size_bytes:
            yield f"changed: instance {uid} has another size than was accepted"
    for uid, each in recorded.items():
        stored = books.objects[each["object_key"]]
        if stored != each["size_bytes"]:
            yield f"lost: the object of instance {uid} has {stored} bytes of {each['size_bytes']}"


def _of_series(books: Books) -> Iterator[str]:
    counts = Counter(each["series_instance_uid"] for each in books[records.INSTANCES].values())
    for uid in counts:
        if record_id(books.institution, uid) not in books[records.SERIES]:
            yield f"lost: series {uid} has instances and no record"
    for each in (*books[records.SERIES].values(), *books[records.STUDIES].values()):
        if each["state"] != "complete":
            yield f"hangs: {each['_id']} is {each['state']}"
    for each in books[records.SERIES].values():
        uid = each["series_instance_uid"]
        if each["instance_count"] != counts[uid]:
            yield f"lost: series {uid} is complete with {each['instance_count']} of {counts[uid]} instances"
        for revision in range(1, each["revision"] + 1):
            if f"{each['_id']}/{revision}" not in books[records.ROUTINGS]:
                yield f"lost: revision {revision} of series {uid} is not routed"
        if each["_id"] not in books[records.CASES]:
            yield f"lost: series {uid} has no case"


def _of_jobs(books: Books, accepted: Accepted) -> Iterator[str]:
    jobs, runs = books[records.JOBS], books[records.RUNS]
    asked = [job_id for routing in books[records.ROUTINGS].values() for job_id in routing["job_ids"]]
    begun = [run_id for run_id, run in runs.items() if not str(run["window"]).endswith(("announced", "withdrawn"))]
    yield from (f"double: job {job_id} was asked for {n} times" for job_id, n in Counter(asked).items() if n > 1)
    yield from (f"lost: run {run_id} was accepted" for run_id in accepted.runs - runs.keys())
    yield from (f"lost: job {job_id} was asked for" for job_id in {*asked, *begun} - jobs.keys())
    yield from (f"double: nobody asked for job {job_id}" for job_id in jobs.keys() - {*asked, *runs})
    for job_id, job in jobs.items():
        if job["state"] not in _ENDED:
            yield f"hangs: job {job_id} is {job['state']}"
        elif job["state"] != "completed" and not job["reason"]:
            yield f"unsaid: job {job_id} is {job['state']} without a reason"


def _of_inferences(books: Books) -> Iterator[str]:
    wanted = {
        job_id
        for job_id, job in books[records.JOBS].items()
        if job["state"] == "completed" and job["use_case"] != RUN_USE_CASE
    }
    made = Counter(each["job_id"] for each in books[records.INFERENCES].values())
    yield from (f"lost: job {job_id} completed without an inference" for job_id in wanted - made.keys())
    yield from (f"double: an inference of job {job_id} that did not complete" for job_id in made.keys() - wanted)
    yield from (f"double: job {job_id} has {n} inferences" for job_id, n in made.items() if n > 1)
    current = Counter(
        (each["use_case"], each["subject_uid"])
        for each in books[records.INFERENCES].values()
        if each["superseded_by"] is None
    )
    yield from (f"double: {n} inferences of {subject} are current" for subject, n in current.items() if n > 1)
    for outcome in books[records.OUTCOMES].values():
        for key in (key for keys in outcome.get("files", {}).values() for key in keys):
            if not books.objects[key]:
                yield f"lost: outcome {outcome['_id']} names an object that is not there"


def _of_told(books: Books, told: Sequence[Document]) -> Iterator[str]:
    """Facts may be told twice, with the same id; none is missing, and none is of something else."""
    completed = {
        (e["data"]["series_instance_uid"], e["data"]["revision"]) for e in _of_type(told, SERIES_COMPLETED.type)
    }
    for each in books[records.SERIES].values():
        for revision in range(1, each["revision"] + 1):
            if (each["series_instance_uid"], revision) not in completed:
                yield f"untold: revision {revision} of series {each['series_instance_uid']}"
    heard: dict[str, set[str]] = {}
    for event in _of_type(told, INFERENCE_COMPLETED.type):
        heard.setdefault(event["data"]["inference_id"], set()).add(event["id"])
    there = books[records.INFERENCES].keys()
    yield from (f"untold: inference {inference_id}" for inference_id in there - heard.keys())
    yield from (f"double: inference {inference_id} is told and not there" for inference_id in heard.keys() - there)
    yield from (f"double: inference {each} is told as {len(ids)} events" for each, ids in heard.items() if len(ids) > 1)


def _of_type(told: Sequence[Document], kind: str) -> list[Document]:
    return [event for event in told if event["type"] == kind]
