"""Archives of series: one zip of a series' instances, made when somebody asks for it and kept under its content."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
import time
import zipfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog
from radbus_storage.documents import Collection, Document
from radbus_storage.errors import ObjectMissingError
from radbus_storage.objects import ObjectStore

log = structlog.get_logger(__name__)

_INSTANCE_LIMIT = 20_000
_AT_A_TIME = 8
_ONLY = {"sop_instance_uid": 1, "object_key": 1, "size_bytes": 1, "sha256": 1}


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What making archives may cost a replica."""

    size_bytes: int
    at_once: int = 2
    folder: Path | None = None


class SeriesArchives:
    """Makes the zip of a series once for each set of instances that it has had."""

    def __init__(self, instances: Collection, objects: ObjectStore, limits: ArchiveLimits) -> None:
        self._instances = instances
        self._objects = objects
        self._limits = limits
        self._free = asyncio.Semaphore(limits.at_once)

    async def key(self, institution: str, series_instance_uid: str) -> str | None:
        """Return the object key of a series' archive, which is made if it is not there.

        Returns:
            None when the series has no instances, or more bytes than an archive may have.
        """
        where = {"institution": institution, "series_instance_uid": series_instance_uid}
        found = await self._instances.find(where, limit=_INSTANCE_LIMIT, only=_ONLY)
        instances = sorted(found, key=lambda each: str(each["sop_instance_uid"]))
        size_bytes = sum(each["size_bytes"] for each in instances)
        if not instances or len(instances) == _INSTANCE_LIMIT or size_bytes > self._limits.size_bytes:
            log.info("archive.refused", series_instance_uid=series_instance_uid, size_bytes=size_bytes)
            return None
        # The content is in the key: a late instance makes another archive, and an old one is never wrong.
        content = hashlib.sha256("".join(f"{each['sop_instance_uid']}{each['sha256']}" for each in instances).encode())
        key = f"{institution}/archives/{series_instance_uid}/{content.hexdigest()[:32]}.zip"
        async with self._free:
            try:
                if not await self._objects.keys(key, limit=1):
                    await self._make(key, instances)
            except ObjectMissingError:
                log.exception("archive.not_made", series_instance_uid=series_instance_uid)
                return None
        return key

    async def _make(self, key: str, instances: Sequence[Document]) -> None:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(
            prefix="radbus-archive-", dir=self._limits.folder, ignore_cleanup_errors=True
        ) as name:
            folder = Path(name)
            archive = folder / "series.zip"
            for start in range(0, len(instances), _AT_A_TIME):
                await self._add(archive, folder, instances[start : start + _AT_A_TIME])
            size_bytes = archive.stat().st_size
            with closing(await asyncio.to_thread(archive.open, "rb")) as stream:
                await self._objects.put(key, stream, size_bytes=size_bytes, content_type="application/zip")
        duration_s = round(time.monotonic() - started, 3)
        log.info("archive.made", key=key, instances=len(instances), size_bytes=size_bytes, duration_s=duration_s)

    async def _add(self, archive: Path, folder: Path, instances: Sequence[Document]) -> None:
        paths = [folder / _entry_name(each["sop_instance_uid"]) for each in instances]
        downloads = (
            self._objects.download(each["object_key"], path) for each, path in zip(instances, paths, strict=True)
        )
        # All of them end, well or not, before the folder goes.
        for ended in await asyncio.gather(*downloads, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
        await asyncio.to_thread(_append, archive, paths)


def _entry_name(sop_instance_uid: str) -> str:
    """Name an entry by its UID, which came from outside: nothing in it may be a path."""
    return f"{re.sub(r'[^0-9A-Za-z.]', '_', sop_instance_uid).lstrip('.')}.dcm"


def _append(archive: Path, paths: Sequence[Path]) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as entries:
        for path in paths:
            entries.write(path, path.name)
            path.unlink()
