"""What a subscriber must have heard by what is written: each fact as one event, which may come twice with its id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from radbus_contracts.identity import event_id
from radbus_contracts.topology import (
    INFERENCE_COMPLETED,
    INFERENCE_FAILED,
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_REQUESTED,
    JOB_RETRIED,
    SERIES_COMPLETED,
    SERIES_UNROUTED,
    STUDY_COMPLETED,
    Fact,
)
from radbus_storage import records

from tests.chaos.books import Books, Document

Key = tuple[str | int, ...]


def of_told(books: Books, told: Sequence[Document]) -> Iterator[str]:
    """Say what is untold, told as several events, or told and not so."""
    for fact, names, wanted in _wanted(books):
        heard = _heard(told, fact, names)
        yield from (f"untold: {_text(fact, key)}" for key in wanted - heard.keys())
        yield from (f"double: {_text(fact, key)} is told and not there" for key in heard.keys() - wanted)
        yield from (
            f"double: {_text(fact, key)} is told as {len(ids)} events" for key, ids in heard.items() if len(ids) > 1
        )
    yield from _of_failures(books, told)


def _wanted(books: Books) -> Iterator[tuple[Fact, tuple[str, ...], set[Key]]]:
    """Give each fact, the names in its data that say of what it is, and all of which it must be told."""
    jobs, routings = books[records.JOBS], books[records.ROUTINGS].values()
    yield SERIES_COMPLETED, ("series_instance_uid", "revision"), _revisions(books, records.SERIES)
    yield STUDY_COMPLETED, ("study_instance_uid", "revision"), _revisions(books, records.STUDIES)
    unrouted = [each for each in routings if each["scope"] == "series" and each["reason"] is not None]
    yield (
        SERIES_UNROUTED,
        ("series_instance_uid", "revision"),
        {(each["subject_uid"], each["revision"]) for each in unrouted},
    )
    yield JOB_REQUESTED, ("job_id",), {(_id,) for _id in jobs}
    failures = {(_id, retries) for _id, job in jobs.items() for retries in range(_failures(job))}
    yield JOB_FAILED, ("job_id", "retries"), failures
    retried = {(_id, retries) for _id, job in jobs.items() for retries in range(1, job["retries"] + 1)}
    yield JOB_RETRIED, ("job_id", "retries"), retried
    yield JOB_COMPLETED, ("job_id",), {(_id,) for _id, job in jobs.items() if job["state"] == "completed"}
    yield INFERENCE_COMPLETED, ("inference_id",), {(_id,) for _id in books[records.INFERENCES]}


def _revisions(books: Books, collection: str) -> set[Key]:
    name = "series_instance_uid" if collection == records.SERIES else "study_instance_uid"
    return {
        (each[name], revision) for each in books[collection].values() for revision in range(1, each["revision"] + 1)
    }


def _failures(job: Document) -> int:
    """Count how often a job has failed: before each retry, and at last."""
    return int(job["retries"]) + (job["state"] in ("failed", "cancelled"))


def _of_failures(books: Books, told: Sequence[Document]) -> Iterator[str]:
    """Compare `inference.failed`, whose data does not say of which failure of a job it is; its id does.

    It is told of the last one; of those before a retry, where they were heard in time.
    """
    heard, jobs = _heard(told, INFERENCE_FAILED, ("job_id",)), books[records.JOBS]
    for job_id, job in jobs.items():
        ids = [
            event_id("inference.failed", job_id, *([str(retries)] if retries else []))
            for retries in range(_failures(job) if job["series_instance_uids"] else 0)
        ]
        own, key = heard.pop((job_id,), set()), (job_id,)
        if ids and len(ids) > job["retries"] and ids[-1] not in own:
            yield f"untold: {_text(INFERENCE_FAILED, key)}"
        if own - set(ids):
            yield f"double: {_text(INFERENCE_FAILED, key)} is told as {len(own)} events of {len(ids)} failures"
    yield from (f"double: {_text(INFERENCE_FAILED, key)} is told and not there" for key in heard)


def _heard(told: Sequence[Document], fact: Fact, names: Sequence[str]) -> Mapping[Key, set[str]]:
    """Return the ids of the events that tell a fact, by what it is of."""
    heard: dict[Key, set[str]] = {}
    for event in told:
        if event["type"] == fact.type:
            heard.setdefault(tuple(event["data"][name] for name in names), set()).add(event["id"])
    return heard


def _text(fact: Fact, key: Key) -> str:
    return f"{fact.routing_key} of {' '.join(str(part) for part in key)}"
