"""Copying whole collections, byte for byte, in bounded memory: for backups.

A document travels as the BSON that MongoDB has of it, so that no type is lost on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, Protocol

from bson import BSON, decode
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import ReplaceOne
from radbus_contracts.errors import PermanentError

from radbus_storage.documents import Document, Documents, translated

_RAW: Final = CodecOptions(document_class=RawBSONDocument)
_SIZE_BYTES: Final = 4
_LIMIT_BYTES: Final = 17 * 1024 * 1024  # MongoDB's own is 16 MiB, and a little for what it adds


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Give at most so many; none at the end."""


class NotBsonError(PermanentError):
    """A file of documents does not hold whole documents."""


async def dump(documents: Documents, name: str, *, page: int = 500) -> AsyncIterator[bytes]:
    """Give every document of a collection in the order of its ids, as BSON.

    Page by page, each a query of its own: a copy that takes hours is not bound to one cursor's or snapshot's life.
    """
    collection: Any = documents.raw(name).with_options(codec_options=_RAW)
    beyond: dict[str, object] = {}
    while True:
        with translated(name):
            found = await collection.find(beyond).sort("_id", 1).limit(page).to_list(page)
        for each in found:
            yield each.raw
        if len(found) < page:
            return
        beyond = {"_id": {"$gt": found[-1]["_id"]}}


async def load(documents: Documents, name: str, batch: Sequence[bytes]) -> None:
    """Write documents as they are; one that is there already is replaced, so that a batch may be written twice."""
    raw = [RawBSONDocument(each) for each in batch]
    with translated(name):
        await (
            documents.raw(name)
            .with_options(codec_options=_RAW)
            .bulk_write([ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in raw], ordered=False)
        )


def read_bson(stream: Readable) -> Iterator[bytes]:
    """Cut a stream of BSON into its documents.

    Raises:
        NotBsonError: It ends in the middle of one, or holds something else.
    """
    while head := stream.read(_SIZE_BYTES):
        size_bytes = int.from_bytes(head, "little")
        if len(head) < _SIZE_BYTES or not _SIZE_BYTES < size_bytes <= _LIMIT_BYTES:
            raise NotBsonError("expected a BSON document of at most 16 MiB")
        body = stream.read(size_bytes - _SIZE_BYTES)
        if len(body) < size_bytes - _SIZE_BYTES:
            raise NotBsonError("expected a whole BSON document at the end")
        yield head + body


def document_of(raw: bytes) -> Document:
    """Read one document.

    Raises:
        NotBsonError: It is none.
    """
    try:
        found: Document = decode(BSON(raw), CodecOptions(tz_aware=True))
    except BSONError as error:
        raise NotBsonError("expected a BSON document") from error
    return found
