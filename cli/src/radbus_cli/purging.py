"""The work of `radbus purge`: which orders are meant, what they would erase, and the erasing of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from pydantic import SecretStr
from radbus_contracts.errors import PermanentError
from radbus_runtime.retention.order import Kind, Order, Plan, What, plan_of
from radbus_runtime.retention.picture import Picture
from radbus_runtime.retention.policy import RetentionPolicy
from radbus_runtime.retention.preview import Preview, preview
from radbus_runtime.retention.purger import Purger
from radbus_runtime.retention.purges import Purges
from radbus_runtime.retention.reading import PictureReader
from radbus_runtime.retention.trail import PurgesInTrail
from radbus_storage import records
from radbus_storage.documents import Document, Documents
from radbus_storage.objects import ObjectStore
from radbus_storage.settings import DocumentSettings, ObjectSettings

_TRIES = 3
_SHOWN = ("institution", "kind", "subject_uid", "what", "state", "waits_for", "by", "reason", "counts", "attempts")
_TIMES = ("asked_at", "try_at", "due_at", "finished_at")


class UnknownSubjectError(PermanentError):
    """Nothing of what is to be erased is known of this institution."""


class AnotherOpenError(PermanentError):
    """Another purge of the same subject is open, that is not for the same: this one is not written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an operator wants to be erased, and why."""

    institution: str
    studies: Sequence[str]
    series: Sequence[str]
    runs: Sequence[str]
    older_than: timedelta | None
    limit: int
    what: tuple[What, ...]
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Meant:
    """One order, and how much it would erase now; `busy` says why it would have to wait."""

    order: Order
    preview: Preview
    busy: str | None

    def document(self) -> dict[str, Any]:
        """Return it for a program."""
        subject = {"kind": self.order.kind.value, "uid": self.order.subject_uid}
        return {**subject, **asdict(self.preview), "waits_for": self.busy}


class Purging:
    """Finds what is meant, and erases it."""

    def __init__(self, documents: Documents, objects: ObjectStore) -> None:
        self._documents = documents
        self._objects = objects
        self._reader = PictureReader(documents)
        self._purges = Purges(documents)
        # What an operator asks for is not asked whether it is due.
        self._purger = Purger(documents, objects, policy=RetentionPolicy(), audit=PurgesInTrail(documents, "cli"))

    async def meant(self, wanted: Wanted) -> tuple[list[Meant], bool]:
        """Say what would be erased, and whether there are more old studies than the limit.

        Raises:
            UnknownSubjectError: Something that was named is not there.
        """
        old = [] if wanted.older_than is None else await self._old_studies(wanted, wanted.older_than)
        orders = await self._orders(wanted, old[: wanted.limit])
        return [await self._meant(order) for order in orders], len(old) > wanted.limit

    async def purge(self, order: Order) -> Document:
        """Erase it now, as far as it can be; return its record.

        Raises:
            AnotherOpenError: The subject has an open purge, which cannot be ended now and is not for the same.
        """
        for _ in range(_TRIES):
            purge_id, is_new = await self._purges.ask(order)
            claim = await self._purges.claim(purge_id)
            if claim is not None:
                await self._purger.run(claim)
            record = await self._purges.get(purge_id)
            if record is not None and (is_new or record["open"]):
                if not is_new and not _is_for_the_same(order, record):
                    raise AnotherOpenError(
                        f"not recorded: purge {purge_id} of {order.kind.value} {order.subject_uid} is open, and is not "
                        "for the same; ask again once it has ended (radbus purge status)"
                    )
                return record
            # Another one of the same subject has ended just now; perhaps it did not erase as much.
        raise UnknownSubjectError(f"expected a purge of {order.subject_uid}, it is purged by others all the time")

    async def status(self, *, institution: str | None, only_open: bool, limit: int) -> list[Document]:
        """Return purges, newest first."""
        await self._purges.collection.ensure_indexes(self._purges.indexes)
        return await self._purges.list(institution=institution, only_open=only_open, limit=limit)

    async def prepare(self) -> None:
        """Make the indexes, should no service have run yet: one of them keeps purges of one subject apart."""
        await self._purges.collection.ensure_indexes(self._purges.indexes)

    async def _orders(self, wanted: Wanted, old: Sequence[str]) -> list[Order]:
        named = [
            *((Kind.STUDY, uid, uid) for uid in dict.fromkeys([*wanted.studies, *old])),
            *[(Kind.SERIES, uid, await self._study_of(wanted.institution, uid)) for uid in wanted.series],
            *((Kind.RUN, uid, "") for uid in wanted.runs),
        ]
        return [_order(wanted, kind, uid, study) for kind, uid, study in named]

    async def _old_studies(self, wanted: Wanted, older_than: timedelta) -> list[str]:
        """Find the oldest, and one more where there are more than the limit."""
        before = (await self._documents.now()) - older_than
        found = await self._documents[records.STUDIES].find(
            {"institution": wanted.institution, "quiet_at": {"$lt": before}},
            limit=wanted.limit + 1,
            sort=(("quiet_at", 1),),
            only={"study_instance_uid": 1},
        )
        return [each["study_instance_uid"] for each in found]

    async def _study_of(self, institution: str, series_instance_uid: str) -> str:
        where = {"institution": institution, "series_instance_uid": series_instance_uid}
        for name in (records.SERIES, records.INSTANCES):
            if found := await self._documents[name].find_one(where, only={"study_instance_uid": 1}):
                return str(found["study_instance_uid"])
        raise UnknownSubjectError(f"expected a series of {institution}, {series_instance_uid} is not known")

    async def _meant(self, order: Order) -> Meant:
        picture = await self._picture(order)
        plan: Plan = plan_of(order, picture)
        how_much = await preview(self._documents, self._objects, plan)
        return Meant(order, how_much, picture.busy(await self._documents.now()))

    async def _picture(self, order: Order) -> Picture:
        if order.kind is Kind.RUN:
            found = await self._reader.run(order.institution, order.subject_uid)
        else:
            found = await self._reader.study(order.institution, order.study_instance_uid)
        if found is None:
            raise UnknownSubjectError(
                f"expected a {order.kind.value} of {order.institution}, {order.subject_uid} is not known"
            )
        return found.about(order.subject_uid) if order.kind is Kind.SERIES else found


@asynccontextmanager
async def purging(environment: Mapping[str, str]) -> AsyncIterator[Purging]:
    """Reach the stores of a deployment."""
    documents = Documents(
        DocumentSettings(url=SecretStr(environment["RADBUS_MONGO_URL"]), database=environment["RADBUS_MONGO_DATABASE"])
    )
    objects = ObjectStore(
        ObjectSettings(
            url=environment["RADBUS_S3_URL"],
            public_url=environment["RADBUS_S3_URL"],
            access_key=SecretStr(environment["RADBUS_S3_ACCESS_KEY"]),
            secret_key=SecretStr(environment["RADBUS_S3_SECRET_KEY"]),
            bucket=environment["RADBUS_S3_BUCKET"],
        )
    )
    try:
        yield Purging(documents, objects)
    finally:
        objects.close()
        documents.close()


def shown(record: Document) -> dict[str, Any]:
    """Return a purge's record as the commands show it."""
    times = {name: record[name].isoformat(timespec="seconds") if record.get(name) else None for name in _TIMES}
    return {"id": record["_id"], **{name: record.get(name) for name in _SHOWN}, **times}


def _is_for_the_same(order: Order, record: Document) -> bool:
    job_ids = None if record["job_ids"] is None else set(record["job_ids"])
    asked = (set(order.what), None if order.job_ids is None else set(order.job_ids), order.by_policy)
    return asked == (set(record["what"]), job_ids, record["by_policy"])


def _order(wanted: Wanted, kind: Kind, uid: str, study_instance_uid: str) -> Order:
    return Order(
        institution=wanted.institution,
        kind=kind,
        subject_uid=uid,
        study_instance_uid=study_instance_uid,
        what=wanted.what,
        by=wanted.by,
        reason=wanted.reason,
    )
