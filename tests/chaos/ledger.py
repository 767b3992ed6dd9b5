"""The count at the end of every fault: accepted = completed + failed with its reason, nothing lost, nothing double.

`imbalances` compares all that is written of one institution with what clients were answered, with what its cases say
to them, and with what a subscriber has heard.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from radbus_contracts.identity import RUN_USE_CASE, record_id
from radbus_storage import records

from tests.chaos.books import WITH_OUTBOX, Accepted, Books, Document, read
from tests.chaos.telling import of_told

_STABLE_S = 0.5
_POLL_S = 0.25
_ENDED = ("completed", "failed", "cancelled")


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
        *_of_cases(books),
        *(f"untold: {name} {_id}" for name in WITH_OUTBOX for _id, each in books[name].items() if each.get("outbox")),
        *(of_told(books, told) if told is not None else ()),
    ]
    if len(books.dead_letters) != dead:
        reasons = sorted(f"{letter.queue}: {letter.reason}" for letter in books.dead_letters)
        found.append(f"{len(reasons)} dead letters where {dead} are expected: {reasons}")
    return found


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


def _of_cases(books: Books) -> Iterator[str]:
    """Say what did not come to the cases, from which `/results` is answered."""
    for each in books[records.SERIES].values():
        uid = each["series_instance_uid"]
        uploads = books.case(uid).get("uploads", {})
        missing = [revision for revision in range(1, each["revision"] + 1) if str(revision) not in uploads]
        yield from (f"unsaid: the case of series {uid} has no upload {revision}" for revision in missing)
    for each in books[records.ROUTINGS].values():
        uid, revision = each["subject_uid"], each["revision"]
        unrouted = books.case(uid).get("unrouted", {})
        if each["scope"] == "series" and unrouted.get(str(revision)) != each["reason"]:
            yield f"unsaid: the case of series {uid} does not say why revision {revision} is for no use case"
    inferences = {each["job_id"]: _id for _id, each in books[records.INFERENCES].items()}
    for job_id, job in books[records.JOBS].items():
        for uid in job["series_instance_uids"]:
            entry = books.case(uid).get("jobs", {}).get(job_id, {})
            for unsaid in _unsaid(job, entry, inferences.get(job_id)):
                yield f"unsaid: the case of series {uid} does not say that job {job_id} {unsaid}"


def _unsaid(job: Document, entry: Document, inference_id: str | None) -> Iterator[str]:
    """Say what of a job its entry in a case does not."""
    if "requested_at" not in entry:
        yield "was asked for"
    if entry.get("retries", 0) != job["retries"]:
        yield f"was retried {job['retries']} times"
    completed, failed = entry.get("completed", {}), entry.get("failed", {})
    if job["state"] == "completed" and completed.get("inference_id") != inference_id:
        yield "has completed"
    if job["state"] in ("failed", "cancelled"):
        wanted = {"cancelled": job["state"] == "cancelled", "retries": job["retries"]}
        if not failed.get("reason") or {name: failed[name] for name in wanted} != wanted:
            yield f"is {job['state']}"
