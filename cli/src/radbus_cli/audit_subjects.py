"""What a UID or id stands for, at each institution that has anything by it: found by indexes only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from radbus_contracts.errors import PermanentError
from radbus_contracts.identity import record_id
from radbus_runtime.audit.codes import DELETE_STUDY
from radbus_storage import records
from radbus_storage.documents import Documents

LIMIT = 1000
"""How many records of each kind are looked at."""

PURGES = "purges"


class NothingFoundError(PermanentError):
    """Nothing is known of a UID or id."""


class Kind(StrEnum):
    """What a UID or id stands for."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"
    RUN = "run"
    JOB = "job"
    INFERENCE = "inference"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an institution has by a UID or id, and what the rest is found by."""

    institution: str
    kind: Kind
    uid: str
    study: str | None = None
    series: str | None = None
    job: str | None = None


async def find(documents: Documents, uid: str, *, institution: str | None = None) -> list[Subject]:
    """Find what each institution has by this UID or id.

    Raises:
        NothingFoundError: None has anything.
    """
    institutions = [institution] if institution else await _institutions(documents)
    found: dict[str, Subject] = {}
    for kind in Kind:
        for subject in await _of_kind(documents, kind, uid, institutions):
            found.setdefault(subject.institution, subject)
    for subject in await _erased(documents, uid, institutions):
        found.setdefault(subject.institution, subject)
    if not found:
        raise NothingFoundError(f"expected a study, series, instance, job, inference or run; nothing is known of {uid}")
    return list(found.values())


async def _institutions(documents: Documents) -> list[str]:
    # Each of these collections has an index that begins with the institution: it is skipped through, not scanned.
    owners = (records.INSTANCES, records.SERIES, records.JOBS, records.RUNS, records.INFERENCES, PURGES)
    return sorted({each for name in owners for each in await documents[name].distinct("institution", {})})


async def _of_kind(documents: Documents, kind: Kind, uid: str, institutions: Sequence[str]) -> list[Subject]:
    by_record_id = {"_id": {"$in": [record_id(each, uid) for each in institutions]}}
    own = {"_id": uid, "institution": {"$in": list(institutions)}}
    of_study = {"institution": {"$in": list(institutions)}, "study_instance_uid": uid}
    of_series = {"institution": {"$in": list(institutions)}, "series_instance_uid": uid}
    match kind:
        case Kind.STUDY:
            found = await documents[records.STUDIES].find(by_record_id, limit=LIMIT, only={"institution": 1})
            # Instances are recorded before their series, and that before its study.
            for name in (records.SERIES, records.INSTANCES):
                found = found or await documents[name].find(of_study, limit=1, only={"institution": 1})
            return [Subject(each["institution"], kind, uid, study=uid) for each in found]
        case Kind.SERIES:
            only = {"institution": 1, "study_instance_uid": 1}
            found = await documents[records.SERIES].find(by_record_id, limit=LIMIT, only=only)
            found = found or await documents[records.INSTANCES].find(of_series, limit=1, only=only)
            return [Subject(each["institution"], kind, uid, each["study_instance_uid"], uid) for each in found]
        case Kind.INSTANCE:
            only = dict.fromkeys(("institution", "study_instance_uid", "series_instance_uid"), 1)
            found = await documents[records.INSTANCES].find(by_record_id, limit=LIMIT, only=only)
            return [
                Subject(each["institution"], kind, uid, each["study_instance_uid"], each["series_instance_uid"])
                for each in found
            ]
        case Kind.INFERENCE:
            only = {"institution": 1, "job_id": 1}
            found = await documents[records.INFERENCES].find(own, limit=1, only=only)
            return [Subject(each["institution"], kind, uid, job=each["job_id"]) for each in found]
        case Kind.JOB | Kind.RUN:
            name = records.JOBS if kind is Kind.JOB else records.RUNS
            found = await documents[name].find(own, limit=1, only={"institution": 1})
            return [Subject(each["institution"], kind, uid, job=uid) for each in found]


async def _erased(documents: Documents, uid: str, institutions: Sequence[str]) -> list[Subject]:
    """Find what nothing is left of but the record of its purge, or the event of it."""
    own = {"institution": {"$in": list(institutions)}}
    of_study = {**own, "study_instance_uid": uid}
    purged = await documents[PURGES].find(of_study, limit=LIMIT, only={"institution": 1})
    found = [Subject(each["institution"], Kind.STUDY, uid, study=uid) for each in purged]
    named = {**own, "objects.uid": uid, "event.id": DELETE_STUDY.event.value}
    for event in await documents.audit.find(named, limit=LIMIT, only={"institution": 1, "objects": 1}):
        uids = {each["uid"]: Kind(each["kind"]) for each in event["objects"]}
        study = next((each for each, kind in uids.items() if kind is Kind.STUDY), None)
        match uids[uid]:
            case Kind.RUN:
                found.append(Subject(event["institution"], Kind.RUN, uid, job=uid))
            case Kind.SERIES:
                found.append(Subject(event["institution"], Kind.SERIES, uid, study, uid))
            case _:
                found.append(Subject(event["institution"], Kind.STUDY, uid, study=uid))
    return found
