"""Archives of series: made once, and not waited for too long."""

from __future__ import annotations

import asyncio
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from radbus_results.adapters.archives import ArchiveLimits, ArchivesPendingError, SeriesArchives
from radbus_storage.errors import StoreUnavailableError

SERIES = ("1.2.1", "1.2.2", "1.2.3")


class Instances:
    """Records of series of so many instances each."""

    def __init__(self, count: int = 1) -> None:
        self._count = count
        self._looks = 0
        self.erase_after_looks = 1000

    async def find(self, where: dict[str, str], **_: Any) -> list[dict[str, Any]]:
        uid = where["series_instance_uid"]
        self._looks += 1
        if self._looks > self.erase_after_looks:
            return []
        return [
            {"sop_instance_uid": f"{uid}.{number}", "object_key": uid, "size_bytes": 8, "sha256": uid}
            for number in range(self._count)
        ]


class HeldObjects:
    """An object store in memory that gives no instance before it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.away = False
        self.put_keys: list[str] = []
        self.entries: dict[str, int] = {}

    async def keys(self, prefix: str, *, limit: int) -> list[str]:
        if self.away:
            raise StoreUnavailableError("object store did not answer")
        return [key for key in self.put_keys if key.startswith(prefix)][:limit]

    async def download(self, key: str, path: Path) -> None:
        await self.let.wait()
        await asyncio.to_thread(path.write_text, key)

    async def put(self, key: str, data: BinaryIO, **_: Any) -> None:
        self.put_keys.append(key)
        self.entries[key] = len(zipfile.ZipFile(data).namelist())

    async def delete(self, key: str) -> None:
        self.put_keys.remove(key)


def archives(objects: HeldObjects, folder: Path, *, wait_s: float = 30, under_way: int = 10) -> SeriesArchives:
    limits = ArchiveLimits(1000, folder=folder, wait_s=wait_s, under_way=under_way)
    return SeriesArchives(Instances(), objects, limits)  # type: ignore[arg-type]


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


async def test_who_asks_again_for_more_series_than_are_made_at_a_time_gets_them_all(tmp_path: Path):
    objects = HeldObjects()
    objects.let.set()
    series = [f"1.2.{number}" for number in range(25)]
    made = archives(objects, tmp_path)

    for left in (15, 5):
        with pytest.raises(ArchivesPendingError, match=f"Archives of {left} series"):
            await made.keys("site-a", series)
    keys = await made.keys("site-a", series)

    assert set(keys) == set(series)
    assert len(objects.put_keys) == len(series)


async def test_archives_that_are_there_are_given_while_as_many_are_made_as_can_be(tmp_path: Path):
    objects = HeldObjects()
    objects.let.set()
    made = archives(objects, tmp_path, wait_s=0.5, under_way=1)
    there = await made.keys("site-a", SERIES[:1])
    objects.let.clear()
    with pytest.raises(ArchivesPendingError):
        await made.keys("site-a", SERIES[1:2])

    keys = await made.keys("site-a", SERIES[:1])

    assert keys == there
    await made.close()


async def test_a_series_of_many_instances_is_packed_whole_and_its_folder_is_gone(tmp_path: Path):
    objects = HeldObjects()
    objects.let.set()
    limits = ArchiveLimits(10_000, folder=tmp_path)
    made = SeriesArchives(Instances(600), objects, limits)  # type: ignore[arg-type]

    keys = await made.keys("site-a", SERIES[:1])

    assert objects.entries[keys[SERIES[0]]] == 600
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_an_archive_of_a_series_that_was_erased_while_it_was_made_is_erased_too(tmp_path: Path):
    objects, instances = HeldObjects(), Instances()
    made = SeriesArchives(instances, objects, ArchiveLimits(1000, folder=tmp_path))  # type: ignore[arg-type]

    reader = asyncio.create_task(made.keys("site-a", SERIES[:1]))
    async with asyncio.timeout(30):
        while not made._under_way:
            await asyncio.sleep(0)
    instances.erase_after_looks = 2
    objects.let.set()
    keys = await reader

    assert keys == {}
    assert objects.put_keys == []
    assert len(objects.entries) == 1
