"""Archives of series: one zip of a series' instances, made when somebody asks for it and kept under its content."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
import time
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog
from radbus_contracts.errors import TransientError
from radbus_storage.documents import Collection, Document
from radbus_storage.errors import ObjectMissingError
from radbus_storage.objects import ObjectStore

log = structlog.get_logger(__name__)

_INSTANCE_LIMIT = 20_000
_AT_A_TIME = 8
_PACKED_AT_ONCE = 256  # each packing opens the archive anew, and reads all of its entries
_LOOKED_FOR_AT_ONCE = 8
_END_S = 5
_ONLY = {"sop_instance_uid": 1, "object_key": 1, "size_bytes": 1, "sha256": 1}


class ArchivesPendingError(TransientError):
    """Archives are still in the making when a reader has waited for long enough; later they are there."""

    def __init__(self, count: int) -> None:
        super().__init__(f"Archives of {count} series are being made; please try again.")


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What making archives may cost a replica, and how long a reader waits for them."""

    size_bytes: int
    at_once: int = 2
    folder: Path | None = None
    wait_s: float = 45
    under_way: int = 1000


@dataclass(frozen=True, slots=True)
class _Look:
    """The archive that a series has, or is to get, by its instances of now."""

    key: str
    instances: Sequence[Document]
    is_there: bool


class SeriesArchives:
    """Makes the zip of a series once for each set of instances that it has had."""

    def __init__(self, instances: Collection, objects: ObjectStore, limits: ArchiveLimits) -> None:
        self._instances = instances
        self._objects = objects
        self._limits = limits
        self._looking = asyncio.Semaphore(_LOOKED_FOR_AT_ONCE)
        self._free = asyncio.Semaphore(limits.at_once)
        self._under_way: dict[tuple[str, str], asyncio.Task[str | None]] = {}

    async def keys(self, institution: str, series_instance_uids: Iterable[str]) -> dict[str, str]:
        """Return the object keys of series' archives, by series; those that are not there are made.

        A series without instances, or with more bytes than an archive may have, is left out.

        Raises:
            ArchivesPendingError: They are not all there in time; the making goes on without this reader.
        """
        uids = list(dict.fromkeys(series_instance_uids))
        finish_by = time.monotonic() + self._limits.wait_s
        try:
            async with asyncio.timeout(self._limits.wait_s):
                there, missing = await self._look_for(institution, uids)
        except TimeoutError:
            raise ArchivesPendingError(len(uids)) from None
        # As many as there is room for: whoever asks again finds these, and has the next ones made.
        tasks = {uid: task for uid in missing if (task := self._task(institution, uid)) is not None}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=max(0, finish_by - time.monotonic()))
        made = {uid: task.result() for uid, task in tasks.items() if task.done()}
        if len(made) < len(missing):
            raise ArchivesPendingError(len(missing) - len(made))
        return {**there, **{uid: key for uid, key in made.items() if key is not None}}

    async def close(self) -> None:
        """Give up what is being made; whoever asks next begins it again."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_END_S)

    async def _look_for(self, institution: str, uids: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """Return the keys of the archives that are there, and the series of those that are to be made."""
        there: dict[str, str] = {}
        missing: list[str] = []
        for start in range(0, len(uids), _LOOKED_FOR_AT_ONCE):
            few = uids[start : start + _LOOKED_FOR_AT_ONCE]
            looks = await asyncio.gather(*(self._look(institution, uid) for uid in few))
            there |= {uid: look.key for uid, look in zip(few, looks, strict=True) if look and look.is_there}
            missing += [uid for uid, look in zip(few, looks, strict=True) if look and not look.is_there]
        return there, missing

    def _task(self, institution: str, series_instance_uid: str) -> asyncio.Task[str | None] | None:
        """Have an archive made, or join its making; None where too many are being made."""
        own = institution, series_instance_uid
        if own not in self._under_way:
            if len(self._under_way) >= self._limits.under_way:
                return None
            task = self._under_way[own] = asyncio.create_task(self._key(institution, series_instance_uid))
            task.add_done_callback(lambda ended: self._ended(own, ended))
        return self._under_way[own]

    def _ended(self, own: tuple[str, str], task: asyncio.Task[str | None]) -> None:
        del self._under_way[own]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Said here, since the readers may have left.
            log.info("archive.not_made", series_instance_uid=own[1], exc_info=error)

    async def _look(self, institution: str, series_instance_uid: str) -> _Look | None:
        """Find out which archive a series has now; None where it can have none."""
        async with self._looking:
            where = {"institution": institution, "series_instance_uid": series_instance_uid}
            found = await self._instances.find(where, limit=_INSTANCE_LIMIT, only=_ONLY)
            instances = sorted(found, key=lambda each: str(each["sop_instance_uid"]))
            size_bytes = sum(each["size_bytes"] for each in instances)
            if not instances or len(instances) == _INSTANCE_LIMIT or size_bytes > self._limits.size_bytes:
                log.info("archive.refused", series_instance_uid=series_instance_uid, size_bytes=size_bytes)
                return None
            key = f"{institution}/archives/{series_instance_uid}/{_content(instances)}.zip"
            return _Look(key, instances, is_there=bool(await self._objects.keys(key, limit=1)))

    async def _key(self, institution: str, series_instance_uid: str) -> str | None:
        async with self._free:
            # Looked at once more: another replica may have made it while this waited, or an instance has come late.
            look = await self._look(institution, series_instance_uid)
            if look is None or look.is_there:
                return look.key if look else None
            try:
                await self._make(look.key, look.instances)
            except ObjectMissingError as error:
                log.warning("archive.not_made", series_instance_uid=series_instance_uid, exc_info=error)
                return None
            if await self._look(institution, series_instance_uid) is None:
                # Erased while it was made: a purge looks for archives after it has erased the last instance.
                await self._objects.delete(look.key)
                return None
            return look.key

    async def _make(self, key: str, instances: Sequence[Document]) -> None:
        started = time.monotonic()
        folder = tempfile.TemporaryDirectory(
            prefix="radbus-archive-", dir=self._limits.folder, ignore_cleanup_errors=True
        )
        try:
            archive = Path(folder.name) / "series.zip"
            for start in range(0, len(instances), _PACKED_AT_ONCE):
                await self._add(archive, instances[start : start + _PACKED_AT_ONCE])
            size_bytes = archive.stat().st_size
            with closing(await asyncio.to_thread(archive.open, "rb")) as stream:
                await self._objects.put(key, stream, size_bytes=size_bytes, content_type="application/zip")
        finally:
            await asyncio.to_thread(folder.cleanup)
        duration_s = round(time.monotonic() - started, 3)
        log.info("archive.made", key=key, instances=len(instances), size_bytes=size_bytes, duration_s=duration_s)

    async def _add(self, archive: Path, instances: Sequence[Document]) -> None:
        paths = [archive.with_name(_entry_name(each["sop_instance_uid"])) for each in instances]
        for start in range(0, len(instances), _AT_A_TIME):
            few = slice(start, start + _AT_A_TIME)
            downloads = (
                self._objects.download(each["object_key"], path)
                for each, path in zip(instances[few], paths[few], strict=True)
            )
            # All of them end, well or not, before the folder goes.
            for ended in await asyncio.gather(*downloads, return_exceptions=True):
                if isinstance(ended, BaseException):
                    raise ended
        await asyncio.to_thread(_append, archive, paths)


def _content(instances: Iterable[Document]) -> str:
    """Name a set of instances: a late one makes another archive, and an old one is never wrong."""
    spelled = "".join(f"{each['sop_instance_uid']}{each['sha256']}" for each in instances)
    return hashlib.sha256(spelled.encode()).hexdigest()[:32]


def _entry_name(sop_instance_uid: str) -> str:
    """Name an entry by its UID, which came from outside: nothing in it may be a path."""
    return f"{re.sub(r'[^0-9A-Za-z.]', '_', sop_instance_uid).lstrip('.')}.dcm"


def _append(archive: Path, paths: Sequence[Path]) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as entries:
        for path in paths:
            entries.write(path, path.name)
            path.unlink()
