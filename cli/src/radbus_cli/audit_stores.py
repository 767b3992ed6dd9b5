"""What the object store and the broker have about one UID or id, beside its records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from radbus_contracts.errors import TransientError
from radbus_storage import records
from radbus_storage.documents import Document, Documents
from radbus_storage.objects import ObjectEntry, ObjectStore

from radbus_cli.audit_records import Records
from radbus_cli.audit_subjects import Kind
from radbus_cli.dead_letters import DeadLetter
from radbus_cli.dead_queues import DeadQueues, QueueState

OBJECTS_LIMIT = 5000
"""How many objects of one series or job are looked at."""

_SERIES_LIMIT = 200
_LETTERS_LIMIT = 1000
_NAME = re.compile(rb"[0-9A-Za-z][0-9A-Za-z.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The objects of one series, job or run; `missing` and `differing` are keys that a record names."""

    what: str
    of: str
    count: int
    size_bytes: int
    last_at: datetime | None
    recorded: int
    missing: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    all_seen: bool = True


@dataclass(slots=True)
class Around:
    """What is in the object store and on the bus; `away` are servers that did not answer."""

    kept: list[Kept] = field(default_factory=list)
    queues: dict[str, QueueState] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    unseen_letters: int = 0
    away: list[str] = field(default_factory=list)


async def look_into_store(documents: Documents, objects: ObjectStore, read: Records, around: Around) -> None:
    """Compare the objects with the records; of each series and job at most so many."""
    try:
        if read.instance is not None:
            around.kept.append(await _compared(objects, "instance", read.subject.uid, [read.instance]))
        elif read.subject.kind in {Kind.STUDY, Kind.SERIES}:
            for stored in read.stored[:_SERIES_LIMIT]:
                where = {"institution": read.subject.institution, "series_instance_uid": stored.series}
                only = {"object_key": 1, "size_bytes": 1}
                found = await documents[records.INSTANCES].find(where, limit=OBJECTS_LIMIT + 1, only=only)
                around.kept.append(await _compared(objects, "instances", stored.series, found))
        for job in read.jobs:
            around.kept.append(await _outputs(objects, read, job["_id"]))
        for run in read.runs:
            zips = await objects.entries(run["archive"], limit=1)
            around.kept.append(_sum("uploaded zip", run["_id"], zips, {}))
    except TransientError as error:
        around.away.append(str(error))


async def look_at_bus(url: str, names: Sequence[str], read: Records, around: Around) -> None:
    """Count what waits in the queues, and find the dead letters that name something of this."""
    try:
        async with DeadQueues.of(url) as queues:
            for name in names:
                state = await queues.state(name)
                if state is not None:
                    around.queues[name] = state
                async with queues.look(name, limit=_LETTERS_LIMIT) as letters:
                    async for each in letters:
                        told = {name.decode() for name in _NAME.findall(each.message.body)}
                        if told & read.ids:
                            around.letters.append(each.letter)
            around.unseen_letters = sum(queues.unseen.values())
    except TransientError as error:
        around.away.append(str(error))


async def _compared(objects: ObjectStore, what: str, of: str, found: Sequence[Document]) -> Kept:
    recorded = {each["object_key"]: each["size_bytes"] for each in found}
    exact = len(found) == 1
    prefixes = sorted({key if exact else f"{key.rpartition('/')[0]}/" for key in recorded})
    entries = [each for prefix in prefixes for each in await objects.entries(prefix, limit=OBJECTS_LIMIT + 1)]
    return _sum(what, of, entries, recorded, all_seen=max(len(found), len(entries)) <= OBJECTS_LIMIT)


async def _outputs(objects: ObjectStore, read: Records, job_id: str) -> Kept:
    own = [each for each in read.outcomes if each["job_id"] == job_id and not each.get("erased_at")]
    recorded: dict[str, int | None] = {
        key: None for each in own for keys in (each.get("files") or {}).values() for key in keys
    }
    prefix = f"{read.subject.institution}/derived/{job_id}/"
    entries = await objects.entries(prefix, limit=OBJECTS_LIMIT + 1)
    return _sum("outputs", job_id, entries, recorded, all_seen=len(entries) <= OBJECTS_LIMIT)


def _sum(
    what: str, of: str, entries: Sequence[ObjectEntry], recorded: dict[str, int | None], *, all_seen: bool = True
) -> Kept:
    there = {each.key: each.size_bytes for each in entries}
    return Kept(
        what=what,
        of=of,
        count=len(there),
        size_bytes=sum(there.values()),
        last_at=max((each.modified_at for each in entries), default=None),
        recorded=len(recorded),
        missing=tuple(sorted(key for key in recorded if key not in there)) if all_seen else (),
        differing=tuple(
            sorted(key for key, size in recorded.items() if size is not None and there.get(key, size) != size)
        ),
        all_seen=all_seen,
    )
