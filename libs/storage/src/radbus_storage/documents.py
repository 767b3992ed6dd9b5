"""Documents in MongoDB. The one module that imports motor (docs/decisions/0001 says how to leave it)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.errors import BSONError
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ReturnDocument, errors

from radbus_storage import records
from radbus_storage.errors import AlreadyThereError, StoreFailedError, StoreRefusedError, StoreUnavailableError
from radbus_storage.settings import DocumentSettings

Document = dict[str, Any]
Filter = Mapping[str, Any]
Change = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Sort = Sequence[tuple[str, int]]

NOW = "$$NOW"  # the server's clock; clients' clocks are never compared


def after(seconds: float) -> Document:
    """Say `seconds` from now by the server's clock, for use in a pipeline update."""
    return {"$add": [NOW, round(seconds * 1000)]}


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a collection, declared in the code of the service that owns it."""

    keys: Sort
    unique: bool = False
    only_where: Filter | None = None
    expire_after_s: int | None = None


class Journal:
    """A collection to which documents are added, and of which none is changed or removed."""

    def __init__(self, inner: AsyncIOMotorCollection[Document]) -> None:
        self._inner = inner
        self.name: str = inner.name

    async def find_one(self, where: Filter, *, only: Mapping[str, int] | None = None) -> Document | None:
        """Read one document, or None."""
        with translated(self.name):
            return await self._inner.find_one(where, only)

    async def find(
        self, where: Filter, *, limit: int, sort: Sort = (), only: Mapping[str, int] | None = None
    ) -> list[Document]:
        """Read at most `limit` documents."""
        with translated(self.name):
            cursor = self._inner.find(where, only, sort=list(sort) or None, limit=limit)
            return await cursor.to_list(limit)

    async def insert(self, document: Document) -> None:
        """Write a new document.

        Raises:
            AlreadyThereError: Its `_id` or a unique key is taken.
        """
        with translated(self.name):
            await self._inner.insert_one(document)

    async def insert_many(self, documents: Sequence[Document]) -> None:
        """Write new documents with one call; when it fails, some may be there."""
        with translated(self.name):
            await self._inner.insert_many(documents, ordered=False)

    async def count(self, where: Filter, *, limit: int = 1_000_000) -> int:
        """Count documents, at most to `limit`."""
        with translated(self.name):
            return await self._inner.count_documents(where, limit=limit)

    async def distinct(self, key: str, where: Filter) -> list[Any]:
        """Return the distinct values of a key."""
        with translated(self.name):
            return await self._inner.distinct(key, where)

    async def ensure_indexes(self, indexes: Sequence[Index]) -> None:
        """Make the declared indexes; nothing happens for those that are there."""
        with translated(self.name):
            for index in indexes:
                options: Document = {"unique": True} if index.unique else {}
                if index.only_where is not None:
                    options["partialFilterExpression"] = index.only_where
                if index.expire_after_s is not None:
                    options["expireAfterSeconds"] = index.expire_after_s
                await self._inner.create_index(list(index.keys), **options)


class Collection(Journal):
    """One collection: a thin, typed face whose errors are radbus's own."""

    async def update(self, where: Filter, change: Change, *, upsert: bool = False) -> bool:
        """Change one document atomically; say whether there was one that `where` holds for (or one was made)."""
        with translated(self.name):
            result = await self._inner.update_one(where, change, upsert=upsert)
            return result.matched_count > 0 or result.upserted_id is not None

    async def update_many(self, where: Filter, change: Change) -> int:
        """Change every document that `where` holds for, each atomically; return how many."""
        with translated(self.name):
            return (await self._inner.update_many(where, change)).matched_count

    async def update_and_get(
        self, where: Filter, change: Change, *, upsert: bool = False, sort: Sort = ()
    ) -> Document | None:
        """Change one document atomically and return it as it is afterwards; None when `where` holds for none."""
        with translated(self.name):
            found: Document | None = await self._inner.find_one_and_update(
                where, change, upsert=upsert, sort=list(sort) or None, return_document=ReturnDocument.AFTER
            )
            return found

    async def delete(self, where: Filter) -> int:
        """Remove what `where` holds for; return how many."""
        with translated(self.name):
            return (await self._inner.delete_many(where)).deleted_count

    async def aggregate(self, pipeline: Sequence[Mapping[str, Any]], *, limit: int) -> list[Document]:
        """Run a pipeline and read at most `limit` of its documents."""
        with translated(self.name):
            return await self._inner.aggregate([*pipeline, {"$limit": limit}]).to_list(limit)


class Documents:
    """The database."""

    def __init__(self, settings: DocumentSettings) -> None:
        timeout_ms = round(settings.timeout_s * 1000)
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            settings.url.get_secret_value(),
            timeoutMS=timeout_ms,
            serverSelectionTimeoutMS=timeout_ms,
            maxPoolSize=settings.pool_size,
            tz_aware=True,
            w="majority",
            retryWrites=True,
            appname="radbus",
        )
        self._database = self._client[settings.database]

    def __getitem__(self, name: str) -> Collection:
        """Return a collection by its name.

        Raises:
            LookupError: It is the audit trail, which nobody may change.
        """
        if name == records.AUDIT:
            raise LookupError("expected a collection that may be changed; the audit trail is Documents.audit")
        return Collection(self._database[name])

    @property
    def audit(self) -> Journal:
        """Return the audit trail."""
        return Journal(self._database[records.AUDIT])

    def raw(self, name: str) -> AsyncIOMotorCollection[Document]:
        """Return the client's own collection, for this package alone."""
        return self._database[name]

    async def ping(self) -> None:
        """Ask the server whether it answers and takes writes.

        Raises:
            StoreUnavailableError: It does not.
        """
        with translated("admin"):
            answer = await self._database.command("hello")
        if not answer.get("isWritablePrimary"):
            raise StoreUnavailableError("MongoDB: expected a primary that takes writes")

    async def now(self) -> datetime:
        """Ask the server what time it is, for values that are compared with its other times."""
        with translated("admin"):
            answer = await self._database.command("hello")
        now: datetime = answer["localTime"]
        return now.replace(tzinfo=UTC)  # a command's answer comes without its time zone

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise the client's errors as radbus's own."""
    try:
        yield
    except errors.DuplicateKeyError as error:
        raise AlreadyThereError(f"{name}: a record with this key is there already") from error
    except (errors.DocumentTooLarge, BSONError, OverflowError, UnicodeEncodeError) as error:
        # Also an integer of more than 64 bits, and a text with half a surrogate pair.
        raise StoreRefusedError(f"{name}: MongoDB cannot hold this document ({type(error).__name__})") from error
    except errors.PyMongoError as error:
        text = f"{name}: MongoDB did not do it ({type(error).__name__})"
        if isinstance(error, errors.ConnectionFailure) or error.timeout:
            raise StoreUnavailableError(text) from error
        raise StoreFailedError(text) from error
