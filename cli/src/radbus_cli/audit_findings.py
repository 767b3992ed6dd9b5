"""What is missing or wrong with a study, and what may be done: where it hangs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from radbus_contracts import topology
from radbus_contracts.identity import inference_id, outcome_id
from radbus_storage.documents import Document

from radbus_cli.audit_entries import reason_of, untold
from radbus_cli.audit_records import Kind, Records
from radbus_cli.audit_stores import Around

_SOON = timedelta(seconds=30)
"""What is younger is on its way."""

_ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, or waits, and what to do about it, where there is something."""

    text: str
    advice: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"text": self.text, "advice": self.advice}


def findings_of(read: Records, around: Around) -> list[Finding]:
    """Say what is missing or wrong, in the order in which a series meets it."""
    judged = [
        *_of_servers(around),
        *_of_objects(read, around),
        *_of_intake(read, around),
        *_of_routings(read, around),
        *(each for job in read.jobs for each in _of_job(read, around, job)),
        *_of_runs(read),
        *_of_outboxes(read),
        *_of_letters(around),
    ]
    return list(dict.fromkeys(judged))


def _of_servers(around: Around) -> Iterator[Finding]:
    for text in around.away:
        yield Finding(f"a server did not answer, so what it has is not told here: {text}", "radbus doctor")


def _of_objects(read: Records, around: Around) -> Iterator[Finding]:
    erased = {each["series_instance_uid"] for each in read.series if each["state"] == "erased"}
    for kept in around.kept:
        if kept.of in erased:
            continue
        for keys, what in ((kept.missing, "missing in the store"), (kept.differing, "of another size in the store")):
            if keys:
                more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
                yield Finding(f"{kept.what} of {kept.of}: object {what}: {keys[0]}{more}")


def _of_intake(read: Records, around: Around) -> Iterator[Finding]:
    recorded = {each["series_instance_uid"]: each for each in read.series}
    for stored in read.stored:
        if stored.series not in recorded and _is_late(read, stored.last_at):
            yield Finding(
                f"series {stored.series}: {stored.count} instances stored, last at {_clock(stored.last_at)}, but no "
                "record of the series: whoever sent them was not answered, and has to send them again"
            )
    for record, what in [(each, "series") for each in read.series] + [(each, "study") for each in read.studies]:
        uid, of_study = record[f"{what}_instance_uid"], what == "study"
        if record["state"] == "receiving":
            late = _is_late(read, record["quiet_at"])
            told = "and nobody has completed it" if late else "then it will be complete"
            yield Finding(
                f"{what} {uid}: open, quiet at {_clock(record['quiet_at'])}, {told}",
                "is ingest running? radbus doctor" if late else None,
            )
        elif not of_study and record.get("revision") and not _is_routed(read, uid, record["revision"]):
            since = f" since {_clock(record['quiet_at'])}" if record.get("quiet_at") else ""
            told = f"series {uid}: complete{since} (revision {record['revision']}), no routing"
            yield _stuck(around, told, topology.ROUTER_SERIES_COMPLETED)


def _of_routings(read: Records, around: Around) -> Iterator[Finding]:
    newest: dict[str, int] = {}
    for routing in read.routings:
        newest[routing["subject_uid"]] = max(newest.get(routing["subject_uid"], 0), routing["revision"])
    made = {job["_id"] for job in read.jobs}
    for routing in read.routings:
        uid = routing["subject_uid"]
        if routing["revision"] != newest[uid]:
            continue
        if routing["reason"] and routing["scope"] == "series":
            yield Finding(f"{uid}: no job. {routing['reason']}", "radbus explain <folder>")
        for decision in routing["decisions"]:
            if decision["matched"] and decision["on_request"] and not decision.get("runs"):
                told = f"{uid}: {decision['use_case']} waits until somebody asks for it"
                yield Finding(told, f"radbus compute {uid}")
        absent = [job_id for job_id in routing["job_ids"] if job_id not in made]
        if absent and read.subject.job is None:
            told = f"{uid}: job {absent[0]} asked for at {_clock(routing['decided_at'])}, and never made"
            yield _stuck(around, told, topology.SCHEDULER_JOB_REQUESTED)


def _of_job(read: Records, around: Around, job: Document) -> Iterator[Finding]:
    match job["state"]:
        case "active":
            if read.now > job["finish_by"] + _SOON:
                yield Finding(
                    f"job {job['_id']}: its deadline has passed at {_clock(job['finish_by'])}, and nobody ended it",
                    "is the scheduler running? radbus doctor",
                )
            for task in job["tasks"]:
                if task["state"] not in _ENDED:
                    yield from _of_task(read, around, job, task)
        case "failed" | "cancelled" as state if not _is_overtaken(read, job):
            reason = reason_of(job)
            superseded = reason.startswith("superseded by ")
            erased = any(each.get("erased_at") for each in read.outcomes if each["job_id"] == job["_id"])
            advice = None if superseded or erased or job.get("archive") else f"radbus jobs retry {job['_id']}"
            yield Finding(f"job {job['_id']} of {job['use_case']}: {state}: {reason}", advice)
        case "completed" if job["series_instance_uids"]:
            yield from _of_result(read, around, job)
    if job["state"] == "completed":
        there = {each["_id"] for each in read.outcomes}
        for task in job["tasks"]:
            if task["outcome_id"] not in there:
                yield Finding(f"job {job['_id']}: task {task['id']} has succeeded, and there is no outcome of it")


def _of_task(read: Records, around: Around, job: Document, task: Document) -> Iterator[Finding]:
    named, attempt = f"job {job['_id']}, task {task['id']}", task["attempt"]
    if task["state"] == "ready":
        alive = [each for each in read.workers if each["pool"] == task["pool"]]
        slots = sum(each["slots"] for each in alive)
        busy = sum(each["busy"] for each in alive)
        why = f"; its attempt before: {task['reason']}" if task["reason"] else ""
        told = f"{named}: ready since {_clock(task['ready_at'])}, waits for pool {task['pool']}"
        yield Finding(
            f"{told} ({len(alive)} workers known, {busy} of {slots} slots busy){why}",
            None if alive else "no worker of this pool was ever heard of",
        )
    elif task["state"] in {"dispatched", "running"}:
        outcomes = {each["_id"]: each for each in read.outcomes}
        found = outcomes.get(outcome_id(job["_id"], task["id"], attempt))
        lease = read.leases.get(f"{job['_id']}/{task['id']}")
        if found is not None:
            queue = topology.SCHEDULER_TASK_SUCCEEDED if found["succeeded"] else topology.SCHEDULER_TASK_FAILED
            yield _stuck(
                around, f"{named}: attempt {attempt} has an outcome that the scheduler has not heard of", queue
            )
        elif lease is None or lease["attempt"] != attempt:
            queue = topology.pool_queue(task["pool"])
            yield _stuck(around, f"{named}: dispatched at {_clock(task['dispatched_at'])}, no worker has it", queue)
        else:
            stale = lease["until"] < read.now
            held = "was held" if stale else "is held"
            yield Finding(
                f"{named}: attempt {attempt} {held} by {lease['worker']} until {_clock(lease['until'])}, "
                f"{round(100 * task['progress'])} % done",
                f"did {lease['worker']} die? radbus doctor" if stale else None,
            )


def _of_result(read: Records, around: Around, job: Document) -> Iterator[Finding]:
    wanted = inference_id(job["_id"])
    if all(each["_id"] != wanted for each in read.inferences):
        told = f"job {job['_id']}: completed at {_clock(job['finished_at'])}, no inference"
        yield _stuck(around, told, topology.RESULTS_JOB_COMPLETED)
        return
    for case in read.cases:
        uid = case["series_instance_uid"]
        if uid in job["series_instance_uids"] and "completed" not in (case.get("jobs") or {}).get(job["_id"], {}):
            told = f"series {uid}: inference {wanted} is not in the case that /results reads"
            yield _stuck(around, told, topology.RESULTS_JOB_COMPLETED)


def _of_runs(read: Records) -> Iterator[Finding]:
    states = {job["_id"]: job["state"] for job in read.jobs}
    for run in read.runs:
        state = states.get(run["_id"])
        if state is None and _is_late(read, run["started_at"]):
            yield Finding(f"run {run['_id']}: started at {_clock(run['started_at'])}, no job of it", "start it again")
        elif state not in {None, "active"} and run["ended_at"] is None:
            yield Finding(f"run {run['_id']}: its job is {state}, and its zip is not yet erased")


def _of_outboxes(read: Records) -> Iterator[Finding]:
    for service, record, message in untold(read):
        if _is_late(read, message["at"]):
            told = f"{record}: {message['type']} stands untold in the outbox since {_clock(message['at'])}"
            yield Finding(told, f"is {service} running, and RabbitMQ? radbus doctor")


def _of_letters(around: Around) -> Iterator[Finding]:
    for letter in around.letters:
        told = f"dead letter {letter.id} in {letter.queue}.dead: {letter.type or 'unknown'}: {letter.reason}"
        yield Finding(told, f"radbus dead replay {letter.id} --queue {letter.queue}")
    if around.unseen_letters:
        yield Finding(f"{around.unseen_letters} dead letters were not looked at", "radbus dead list")


def _stuck(around: Around, told: str, queue: topology.Queue) -> Finding:
    """Say what waits in the queue by which it should have gone on."""
    state = around.queues.get(queue.name)
    letters = sum(letter.queue == queue.name for letter in around.letters)
    if state is None:
        return Finding(f"{told}: queue {queue.name} was not seen", "radbus doctor")
    dead = f", {letters} dead letters of this" if letters else ""
    waiting = f"{told}: queue {queue.name} has {state.messages} messages and {state.consumers} consumers{dead}"
    return Finding(waiting, None if state.consumers else f"is {queue.name.partition('.')[0]} running? radbus doctor")


def _is_overtaken(read: Records, job: Document) -> bool:
    """Say whether a newer revision or run stands in a job's place."""

    def order(each: Document) -> tuple[int, datetime]:
        return each["revision"], each["requested_at"]

    same = (
        each for each in read.jobs if (each["subject_uid"], each["use_case"]) == (job["subject_uid"], job["use_case"])
    )
    return any(order(each) > order(job) for each in same)


def _is_routed(read: Records, uid: str, revision: int) -> bool:
    if read.subject.kind in {Kind.JOB, Kind.RUN, Kind.INFERENCE}:
        return True
    return any(each["subject_uid"] == uid and each["revision"] == revision for each in read.routings)


def _is_late(read: Records, at: datetime) -> bool:
    return at + _SOON < read.now


def _clock(at: datetime | None) -> str:
    return "an unknown time" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
