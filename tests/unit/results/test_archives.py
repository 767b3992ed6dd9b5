"""Archives of series: made once, and not waited for too long."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from radbus_results.adapters.archives import ArchiveLimits, ArchivesPendingError, SeriesArchives
from radbus_storage.errors import StoreUnavailableError

SERIES = ("1.2.1", "1.2.2", "1.2.3")


class OneInstanceEach:
    """Records of series of one instance each."""

    async def find(self, where: dict[str, str], **_: Any) -> list[dict[str, Any]]:
        uid = where["series_instance_uid"]
        return [{"sop_instance_uid": f"{uid}.1", "object_key": uid, "size_bytes": 8, "sha256": uid}]


class HeldObjects:
    """An object store in memory that gives no instance before it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.away = False
        self.put_keys: list[str] = []

    async def keys(self, prefix: str, *, limit: int) -> list[str]:
        if self.away:
            raise StoreUnavailableError("object store did not answer")
        return [key for key in self.put_keys if key.startswith(prefix)][:limit]

    async def download(self, key: str, path: Path) -> None:
        await self.let.wait()
        await asyncio.to_thread(path.write_text, key)

    async def put(self, key: str, data: object, **_: Any) -> None:
        self.put_keys.append(key)


def archives(objects: HeldObjects, folder: Path, *, wait_s: float) -> SeriesArchives:
    return SeriesArchives(OneInstanceEach(), objects, ArchiveLimits(1000, folder=folder, wait_s=wait_s))  # type: ignore[arg-type]


async def test_a_reader_waits_so_long_and_finds_later_what_was_made_meanwhile(tmp_path: Path):
    objects = HeldObjects()
    made = archives(objects, tmp_path, wait_s=0.05)

    with pytest.raises(ArchivesPendingError, match="Archives of 3 series are being made"):
        await made.keys("site-a", SERIES)
    objects.let.set()
    async with asyncio.timeout(30):
        while len(objects.put_keys) < len(SERIES):
            await asyncio.wait(made._under_way.values())
    keys = await made.keys("site-a", SERIES)

    assert set(keys) == set(SERIES)
    assert len(objects.put_keys) == 3


async def test_readers_of_one_moment_share_the_making(tmp_path: Path):
    objects = HeldObjects()
    made = archives(objects, tmp_path, wait_s=30)

    readers = [asyncio.create_task(made.keys("site-a", [*SERIES, *SERIES])) for _ in range(3)]
    objects.let.set()
    found = await asyncio.gather(*readers)

    assert found[0] == found[1] == found[2]
    assert sorted(objects.put_keys) == sorted(found[0].values())


async def test_a_store_that_is_away_is_told_to_the_reader_and_asked_again_by_the_next(tmp_path: Path):
    objects = HeldObjects()
    objects.let.set()
    made = archives(objects, tmp_path, wait_s=30)

    objects.away = True
    with pytest.raises(StoreUnavailableError):
        await made.keys("site-a", SERIES)
    objects.away = False
    keys = await made.keys("site-a", SERIES)

    assert set(keys) == set(SERIES)


async def test_what_is_being_made_is_given_up_at_the_end(tmp_path: Path):
    objects = HeldObjects()
    made = archives(objects, tmp_path, wait_s=0.01)
    with pytest.raises(ArchivesPendingError):
        await made.keys("site-a", SERIES)

    await made.close()

    assert objects.put_keys == []
    assert await asyncio.to_thread(os.listdir, tmp_path) == []
