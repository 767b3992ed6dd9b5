"""What happened, line by line in order of time: UIDs, ids, states and counts; no header value, nobody's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from radbus_runtime.webhooks.deliveries import REMOVED
from radbus_storage.documents import Document

from radbus_cli.audit_records import Records
from radbus_cli.audit_stores import Around

Ids = dict[str, str | int]

_ACTIONS = {"C": "created", "R": "read", "U": "changed", "D": "deleted", "E": "ran"}  # PS3.15 A.5.2, EventActionCode


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; `gap` marks what is not as it should be."""

    at: datetime | None
    service: str
    what: str
    ids: Ids = field(default_factory=dict)
    gap: bool = False

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        at = self.at.isoformat() if self.at else None
        return {"at": at, "service": self.service, "what": self.what, "ids": self.ids, "gap": self.gap}


def entries_of(read: Records, around: Around) -> list[Entry]:
    """Tell everything in order of time; what has no time comes last."""
    found = [
        *_intake(read),
        *_routed(read),
        *(each for job in read.jobs for each in _job(read, job)),
        *_results(read),
        *_told(read),
        *_runs(read),
        *_kept(around),
        *_untold(read),
        *_dead(around),
        *_accesses(read),
    ]
    return sorted(found, key=lambda each: (each.at is None, each.at.timestamp() if each.at else 0.0))


def size(size_bytes: int) -> str:
    """Say a size as a person does."""
    for unit, factor in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"


def reason_of(record: Document) -> str:
    """Say why a job ended, but for the words of who cancelled it: they may name a patient."""
    reason = str(record.get("reason") or "no reason given")
    return reason if record["state"] == "failed" or reason.startswith("superseded by ") else "on request"


def _intake(read: Records) -> Iterator[Entry]:
    if read.instance is not None:
        ids: Ids = {"instance": read.subject.uid, "series": read.instance["series_instance_uid"]}
        yield Entry(read.instance["stored_at"], "ingest", f"instance stored, {size(read.instance['size_bytes'])}", ids)
    for stored in read.stored:
        ids = {"series": stored.series, "study": stored.study}
        yield Entry(stored.first_at, "ingest", f"first of {stored.count} instances stored", ids)
        if stored.count > 1:
            told = f"last of {stored.count} instances stored, {size(stored.size_bytes)}"
            yield Entry(stored.last_at, "ingest", told, ids)
    for case in read.cases:
        for revision, upload in (case.get("uploads") or {}).items():
            told = f"series complete with {upload['instance_count']} instances"
            ids = {"series": case["series_instance_uid"], "revision": int(revision)}
            yield Entry(upload["completed_at"], "ingest", told, ids)
    for record, what in [(each, "series") for each in read.series] + [(each, "study") for each in read.studies]:
        yield from _state(record, what)
    for purge in read.purges:
        told = f"{purge.get('kind')} purged ({', '.join(purge.get('what') or ())}): {purge.get('state')}"
        yield Entry(purge.get("finished_at") or purge.get("asked_at"), "retention", told, {"purge": purge["_id"]})


def _state(record: Document, what: str) -> Iterator[Entry]:
    ids: Ids = {what: record[f"{what}_instance_uid"]}
    match record["state"]:
        case "receiving":
            yield Entry(record["quiet_at"], "ingest", f"{what} is open until it was quiet", ids)
        case "complete" if what == "study" and record.get("revision"):
            told = "study quiet, complete"
            yield Entry(record["quiet_at"], "ingest", told, {**ids, "revision": record["revision"]})
        case "complete":
            return
        case state:
            yield Entry(None, "ingest", f"{what} is {state}", ids)


def _routed(read: Records) -> Iterator[Entry]:
    for wish in read.wishes:
        uid = wish["_id"].partition("/")[2]
        yield Entry(wish["asked_at"], "router", "somebody asked for its computation", {"subject": uid})
    for routing in read.routings:
        ids: Ids = {"subject": routing["subject_uid"], "revision": routing["revision"]}
        yield Entry(routing["decided_at"], "router", f"routed: {_decided(routing)}", ids)


def _decided(routing: Document) -> str:
    told: list[str] = []
    for decision in routing["decisions"]:
        if decision["matched"]:
            asked = " on request" if decision["on_request"] else ""
            runs = decision.get("runs", 0 if decision["on_request"] else 1)  # earlier releases did not say
            told.append(f"{decision['use_case']} matches{asked}, {_times(runs, 'run')}")
        else:
            failed = [f"{each['name']} {each['answer']}" for each in decision["conditions"] if each["answer"] != "yes"]
            told.append(f"{decision['use_case']} does not ({', '.join(failed)})")
    return "; ".join(told) or "there is no use case of this scope"


def _job(read: Records, job: Document) -> Iterator[Entry]:
    ids: Ids = {"job": job["_id"]}
    told = f"job of {job['use_case']} made, {job['priority']}"
    yield Entry(job["requested_at"], "scheduler", told, {**ids, "subject": job["subject_uid"]})
    for task in job["tasks"]:
        yield from _task(job, task, read.leases.get(f"{job['_id']}/{task['id']}"))
    for outcome in (each for each in read.outcomes if each["job_id"] == job["_id"]):
        own: Ids = {**ids, "task": outcome["task_id"], "attempt": outcome["attempt"]}
        yield Entry(outcome["started_at"], "worker", "attempt started", {**own, "worker": outcome["worker"]})
        if outcome["succeeded"]:
            files = sum(len(keys) for keys in (outcome.get("files") or {}).values())
            usable = "" if outcome.get("usable", True) else ", not usable"
            ended = f"attempt succeeded{usable}, {_times(files, 'file')}"
        else:
            ended = f"attempt failed: {outcome['reason']}"
        yield Entry(outcome["finished_at"], "worker", ended, own)
    if job["finished_at"] is not None:
        why = "" if job["state"] == "completed" else f": {reason_of(job)}"
        retries = f" (retried {_times(job['retries'], 'time')})" if job.get("retries") else ""
        yield Entry(job["finished_at"], "scheduler", f"job {job['state']}{why}{retries}", ids)
    elif job.get("retries"):
        yield Entry(None, "scheduler", f"job goes on, retried {_times(job['retries'], 'time')}", ids)


def _task(job: Document, task: Document, lease: Document | None) -> Iterator[Entry]:
    ids: Ids = {"job": job["_id"], "task": task["id"]}
    attempt: Ids = {**ids, "attempt": task["attempt"]}
    if task["ready_at"] is not None:
        yield Entry(task["ready_at"], "scheduler", f"task ready for pool {task['pool']}", ids)
    if task["dispatched_at"] is not None:
        yield Entry(task["dispatched_at"], "scheduler", f"task dispatched to pool {task['pool']}", attempt)
    if lease is not None and task["state"] in {"dispatched", "running"}:
        told = "lease given back" if lease["released"] else "lease holds until then"
        yield Entry(lease["until"], "worker", told, {**ids, "attempt": lease["attempt"], "worker": lease["worker"]})
    if task["finished_at"] is not None:
        why = f": {task['reason']}" if task["state"] == "failed" and task["reason"] else ""
        yield Entry(task["finished_at"], "scheduler", f"task {task['state']}{why}", attempt)


def _results(read: Records) -> Iterator[Entry]:
    own = {job["_id"] for job in read.jobs}
    for case in read.cases:
        for job_id, job in (case.get("jobs") or {}).items():
            failed = job.get("failed")
            if failed is not None and job_id in own:
                told = "result recorded as cancelled" if failed["cancelled"] else "result recorded as failed"
                yield Entry(
                    failed["failed_at"], "results", told, {"series": case["series_instance_uid"], "job": job_id}
                )
    for inference in read.inferences:
        usable = "" if inference["usable"] else ", not usable"
        told = f"inference of {inference['use_case']} recorded, {inference['triage']}{usable}"
        ids: Ids = {"inference": inference["_id"], "job": inference["job_id"]}
        if inference.get("superseded_by"):
            ids["superseded_by"] = inference["superseded_by"]
        yield Entry(inference["completed_at"], "results", told, ids)


def _told(read: Records) -> Iterator[Entry]:
    for delivery in read.deliveries:
        ids: Ids = {"webhook": delivery["webhook_id"], "event": delivery["event_id"]}
        what = delivery["type"].removeprefix("radbus.")
        yield Entry(delivery["asked_at"], "results", f"webhook to be told {what}", ids)
        tries = _times(delivery["attempts"], "attempt")
        if delivery["state"] == "delivered":
            yield Entry(delivery["ended_at"], "results", f"webhook told {what}, {tries}", ids)
        elif delivery["state"] == "failed":
            told = f"webhook not told {what}, given up after {tries}: {delivery['reason']}"
            yield Entry(delivery["ended_at"], "results", told, ids, gap=delivery["reason"] != REMOVED)
        elif delivery["reason"]:
            yield Entry(None, "results", f"webhook not told {what} yet, {tries}: {delivery['reason']}", ids)


def _runs(read: Records) -> Iterator[Entry]:
    for run in read.runs:
        ids: Ids = {"run": run["_id"]}
        yield Entry(run["started_at"], "ingest", f"run of {run['model_id']} started, {size(run['size_bytes'])}", ids)
        if run["ended_at"] is not None:
            yield Entry(run["ended_at"], "ingest", "uploaded zip erased", ids)


def _kept(around: Around) -> Iterator[Entry]:
    for kept in around.kept:
        lost = len(kept.missing) + len(kept.differing)
        if not kept.count and not lost:
            continue
        count = _times(kept.count, "object") if kept.all_seen else f"{kept.count} objects or more"
        told = f"{kept.what}: {count} in the store, {size(kept.size_bytes)}"
        if lost:
            told += f"; {len(kept.missing)} missing, {len(kept.differing)} of another size"
        yield Entry(kept.last_at, "store", told, {"of": kept.of}, gap=lost > 0)


def _untold(read: Records) -> Iterator[Entry]:
    for service, record, message in untold(read):
        yield Entry(message["at"], service, f"untold event in the outbox: {message['type']}", {"of": record}, gap=True)


def untold(read: Records) -> Iterator[tuple[str, str, Document]]:
    """Give the events that stand in an outbox, with the service and the record that they are of."""
    of_service = {
        "ingest": [*read.series, *read.studies, *read.runs],
        "router": read.routings,
        "scheduler": read.jobs,
        "worker": read.outcomes,
        "results": [*read.inferences, *read.cases],
    }
    for service, documents in of_service.items():
        for document in documents:
            for message in document.get("outbox") or ():
                yield service, document["_id"].removeprefix(f"{read.subject.institution}/"), message


def _dead(around: Around) -> Iterator[Entry]:
    for letter in around.letters:
        told = f"dead letter in {letter.queue}.dead: {letter.reason}"
        yield Entry(letter.died_at, letter.queue.partition(".")[0], told, {"letter": letter.id}, gap=True)


def _accesses(read: Records) -> Iterator[Entry]:
    for event in read.accesses:
        takers: list[Document] = event.get("participants") or []
        who = next((each for each in takers if each.get("is_requestor")), {})
        kind: Document = event.get("event") or {}
        service = (event.get("source") or {}).get("service") or "unknown"
        where = f" from {who['address']}" if who.get("address") else ""
        ended = "" if kind.get("outcome") in {0, None} else f", outcome {kind['outcome']}"
        action = _ACTIONS.get(str(kind.get("action")), "used")
        told = f"{action} by {who.get('user') or 'unknown'}{where}{ended}"
        objects = {each["kind"]: each["uid"] for each in event.get("objects") or () if each.get("uid") in read.ids}
        yield Entry(event["at"], service, told, dict(list(objects.items())[:3]))


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
