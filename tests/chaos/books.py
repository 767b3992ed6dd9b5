"""All that is written of one institution, read at the end of every fault: the books that `ledger` balances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from radbus_cli.dead_letters import DeadLetter
from radbus_cli.dead_queues import DeadQueues, queue_names
from radbus_contracts.identity import record_id
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.errors import ObjectMissingError
from radbus_storage.objects import ObjectStore
from radbus_testing.programs import settings_of

WITH_OUTBOX: Final = (
    records.SERIES,
    records.STUDIES,
    records.RUNS,
    records.ROUTINGS,
    records.JOBS,
    records.OUTCOMES,
    records.INFERENCES,
    records.CASES,
)
_LIMIT = 100_000

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

    def case(self, series_instance_uid: str) -> Document:
        """Return the case of a series, empty where there is none."""
        return self[records.CASES].get(record_id(self.institution, series_instance_uid), {})


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


async def dead_letters(environment: Mapping[str, str], institution: str) -> list[DeadLetter]:
    """Read the dead letters that name an institution."""
    found: list[DeadLetter] = []
    async with DeadQueues.of(environment["RADBUS_AMQP_URL"]) as queues:
        for name in queue_names(Path(environment["RADBUS_MACHINES_DIR"])):
            async with queues.look(name, limit=1000) as letters:
                found += [each.letter async for each in letters if institution.encode() in each.message.body]
    return found


_COLLECTIONS = (records.INSTANCES, *WITH_OUTBOX)


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
