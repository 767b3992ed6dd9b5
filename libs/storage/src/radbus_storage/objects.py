"""Objects in an S3 store. The one module that imports minio; it owns the threads that minio blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import MinioException, S3Error

from radbus_storage.errors import (
    DiskFullError,
    ObjectMissingError,
    StoreFullError,
    StoreUnavailableError,
    is_disk_full,
)
from radbus_storage.settings import ObjectSettings

T = TypeVar("T")
_PART_SIZE_BYTES = 8 * 1024 * 1024
# MinIO's own, and what Ceph and hosted stores say of a quota.
_FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "StorageQuotaExceeded"})


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """An object as a listing tells of it; the time is the store's."""

    key: str
    size_bytes: int
    modified_at: datetime


class ObjectStore:
    """One bucket; every read and write of a socket has a time limit, and at most `threads` calls run at once."""

    def __init__(self, settings: ObjectSettings) -> None:
        self._bucket = settings.bucket
        self._client = _client(settings, settings.url)
        # The host is part of a pre-signed URL's signature, so these are signed for the public address.
        self._public = _client(settings, settings.public_url)
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="objects")
        self._free = asyncio.Semaphore(settings.threads)

    async def ensure_bucket(self) -> None:
        """Make the bucket if it is not there."""
        await self._call(lambda: self._client.bucket_exists(self._bucket) or self._client.make_bucket(self._bucket))

    async def ping(self) -> None:
        """Ask the store whether it has the bucket.

        Raises:
            StoreUnavailableError: It does not answer, or the bucket is not there.
        """
        if not await self._call(lambda: self._client.bucket_exists(self._bucket)):
            raise StoreUnavailableError(f"object store: expected a bucket named {self._bucket!r}")

    async def put(
        self, key: str, data: bytes | BinaryIO, *, size_bytes: int, content_type: str = "application/octet-stream"
    ) -> None:
        """Store an object; `data` is read from where it stands, in parts, never whole.

        Raises:
            StoreFullError: The store has no room.
        """
        stream = BytesIO(data) if isinstance(data, bytes) else data
        await self._call(
            lambda: self._client.put_object(
                self._bucket,
                key,
                stream,
                size_bytes,
                content_type=content_type,
                part_size=_PART_SIZE_BYTES,
                num_parallel_uploads=1,  # else one call holds seven parts in memory
            )
        )

    async def upload(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:
        """Store a file as an object.

        Raises:
            StoreFullError: The store has no room.
        """
        await self._call(
            lambda: self._client.fput_object(
                self._bucket,
                key,
                str(path),
                content_type=content_type,
                part_size=_PART_SIZE_BYTES,
                num_parallel_uploads=1,
            )
        )

    async def get(self, key: str) -> bytes:
        """Read a small object whole.

        Raises:
            ObjectMissingError: There is none.
        """
        return await self._call(lambda: self._read(key))

    async def download(self, key: str, path: Path) -> None:
        """Stream an object into a file.

        Raises:
            ObjectMissingError: There is none.
            DiskFullError: The file's disk has no room.
        """
        await self._call(lambda: self._client.fget_object(self._bucket, key, str(path)))

    async def size_bytes(self, key: str) -> int:
        """Return an object's size.

        Raises:
            ObjectMissingError: There is none.
        """
        return int((await self._call(lambda: self._client.stat_object(self._bucket, key))).size or 0)

    async def content_type(self, key: str) -> str:
        """Return what an object was said to be when it was stored.

        Raises:
            ObjectMissingError: There is none.
        """
        found = await self._call(lambda: self._client.stat_object(self._bucket, key))
        return found.content_type or "application/octet-stream"

    async def delete(self, key: str) -> None:
        """Remove an object, and the parts of uploads of it that were never completed; none there is success."""
        await self._call(lambda: self._remove(key))

    async def keys(self, prefix: str, *, limit: int) -> list[str]:
        """List keys below a prefix, at most `limit`."""
        return [entry.key for entry in await self.entries(prefix, limit=limit)]

    async def entries(self, prefix: str, *, limit: int) -> list[ObjectEntry]:
        """List objects below a prefix, at most `limit`."""
        return await self._call(lambda: self._entries(prefix, limit))

    async def walk(self, prefix: str, *, page: int) -> AsyncIterator[list[ObjectEntry]]:
        """List all objects below a prefix, a page at a time, in the store's own order."""
        listing = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        while found := await self._call(lambda: [_entry(each) for each in islice(listing, page)]):
            yield found

    async def folders(self, prefix: str) -> list[str]:
        """List the prefixes that go on behind this one to the next slash; the objects below them are not read."""
        return await self._call(lambda: self._folders(prefix))

    async def drop_uploads(self, prefix: str) -> int:
        """Remove the parts of uploads below a prefix that were not completed, as far as the store lists them.

        MinIO lists them by whole keys only: there `delete` of each key does it. Returns how many there were.
        """
        return await self._call(lambda: self._drop_uploads(prefix))

    def presign(self, key: str, *, lifetime_s: int, filename: str | None = None) -> str:
        """Sign a public URL by which anyone may read the object for a time, in any thread; no call is made."""
        headers: dict[str, str | list[str] | tuple[str]] | None = None
        if filename is not None:
            headers = {"response-content-disposition": f'inline; filename="{filename}"'}
        url: str = self._public.presigned_get_object(
            self._bucket, key, expires=timedelta(seconds=lifetime_s), response_headers=headers
        )
        return url

    def close(self) -> None:
        """Let running calls end and stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, key: str) -> bytes:
        response = self._client.get_object(self._bucket, key)
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()

    def _remove(self, key: str) -> None:
        self._client.remove_object(self._bucket, key)
        # The parts that a killed writer leaves are no object, and no store can be relied on to drop them: MinIO takes
        # no rule for it. It lists them by whole keys only. The client has no public way to either call.
        begun = self._client._list_multipart_uploads(self._bucket, prefix=key)  # noqa: SLF001
        for upload in begun.uploads:
            if upload.object_name == key and upload.upload_id is not None:
                self._abort(key, upload.upload_id)

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            self._client._abort_multipart_upload(self._bucket, key, upload_id)  # noqa: SLF001
        except S3Error as error:
            if error.code != "NoSuchUpload":  # completed or aborted meanwhile
                raise

    def _drop_uploads(self, prefix: str) -> int:
        begun = self._client._list_multipart_uploads(self._bucket, prefix=prefix)  # noqa: SLF001
        for upload in begun.uploads:
            if upload.object_name is not None and upload.upload_id is not None:
                self._abort(upload.object_name, upload.upload_id)
        return len(begun.uploads)

    def _entries(self, prefix: str, limit: int) -> list[ObjectEntry]:
        listing = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        return [_entry(each) for each in islice(listing, limit)]

    def _folders(self, prefix: str) -> list[str]:
        listing = self._client.list_objects(self._bucket, prefix=prefix, recursive=False)
        return [str(each.object_name) for each in listing if each.is_dir]

    async def _call(self, work: Callable[[], T]) -> T:
        async with self._free:
            context = copy_context()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)
            except S3Error as error:
                if error.code in {"NoSuchKey", "NoSuchObject"}:
                    raise ObjectMissingError(f"object store: no such object ({error.code})") from error
                kind = StoreFullError if error.code in _FULL else StoreUnavailableError
                raise kind(f"object store: {error.code}") from error
            except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
                if is_disk_full(error):
                    raise DiskFullError("a disk of this machine is full") from error
                raise StoreUnavailableError(f"object store did not answer ({type(error).__name__})") from error


def _entry(listed: Object) -> ObjectEntry:
    return ObjectEntry(str(listed.object_name), int(listed.size or 0), listed.last_modified or datetime.now(UTC))


def _client(settings: ObjectSettings, url: str) -> Minio:
    parts = urlsplit(url)
    pool = urllib3.PoolManager(
        maxsize=settings.threads,
        timeout=urllib3.Timeout(connect=5, read=settings.timeout_s),
        retries=urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
    )
    return Minio(
        endpoint=parts.netloc,
        access_key=settings.access_key.get_secret_value(),
        secret_key=settings.secret_key.get_secret_value(),
        secure=parts.scheme == "https",
        region=settings.region,
        http_client=pool,
    )
