"""Backups as files: what is shared, what is found wrong, what is removed; no server is needed for it."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from bson import encode
from radbus_cli.backup.dumping import write_records
from radbus_cli.backup.listings import Known, merged, write_part
from radbus_cli.backup.manifest import FORMAT, BackupError, Manifest, ObjectLine, blob_name, digest, read_manifest
from radbus_cli.backup.pruning import Pruned, drop_killed, prune
from radbus_cli.backup.vault import Folder, NotAVaultError, vault_of
from radbus_cli.backup.verifying import verify
from radbus_storage.copying import NotBsonError, document_of, read_bson
from radbus_storage.errors import ObjectMissingError

AT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def vault(tmp_path) -> Folder:
    return Folder(tmp_path / "vault")


@pytest.fixture
def scratch(tmp_path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def line_of(key: str, data: bytes) -> ObjectLine:
    return ObjectLine(
        key=key, size_bytes=len(data), modified_at=AT, sha256=sha256(data).hexdigest(), content_type="application/dicom"
    )


class Watched(Folder):
    """A folder that remembers what was read from it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[str] = []

    async def get(self, name: str, file: Path) -> None:
        self.read.append(name)
        await super().get(name, file)


async def given(found: list[Any]) -> AsyncIterator[Any]:
    for each in found:
        yield each


async def keep(vault: Folder, backup_id: str, objects: dict[str, bytes], scratch: Path, *, whole: bool = True) -> None:
    """Write a backup with one record and these objects, two a part, or one that was killed before its manifest."""
    file = scratch / "file"
    for data in objects.values():
        file.write_bytes(data)
        await vault.put(blob_name(sha256(data).hexdigest()), file)
    lines = [line_of(key, data) for key, data in sorted(objects.items())]
    parts = [
        await write_part(vault, backup_id, start // 2, lines[start : start + 2], scratch)
        for start in range(0, len(lines), 2)
    ]
    raw = given([encode({"_id": "north/1.2.3", "at": AT})])
    documents = {"series": await write_records(vault, f"backups/{backup_id}/documents/series/", raw, scratch)}
    if whole:
        manifest = Manifest(
            id=backup_id,
            started_at=AT,
            finished_at=AT,
            documents=documents,
            listings=tuple(parts),
            object_count=len(lines),
            object_bytes=sum(line.size_bytes for line in lines),
            copied_objects=len(lines),
            copied_bytes=0,
        )
        file.write_text(manifest.model_dump_json())
        await vault.put(f"backups/{backup_id}/manifest.json", file)


async def test_the_newest_whole_backup_is_meant_and_one_that_was_killed_is_none(vault, scratch):
    await keep(vault, "1", {"a": b"1"}, scratch)
    await keep(vault, "2", {"a": b"1"}, scratch)
    await keep(vault, "3", {"a": b"1"}, scratch, whole=False)

    assert (await read_manifest(vault)).id == "2"
    assert (await read_manifest(vault, "1")).id == "1"
    with pytest.raises(BackupError, match="no whole backup 3"):
        await read_manifest(vault, "3")


async def test_what_the_newest_and_the_killed_ones_since_have_copied_is_known(vault, scratch):
    await keep(vault, "1", {"a": b"old", "c": b"c"}, scratch)
    await keep(vault, "2", {"a": b"new", "b": b"b"}, scratch, whole=False)

    known = await Known.of(vault, scratch)
    found = {key: await known.find(key) for key in ("a", "aa", "b", "c", "d")}

    assert [line.sha256 for line in found["a"]] == [sha256(each).hexdigest() for each in (b"old", b"new")]
    assert [line.key for line in (*found["b"], *found["c"])] == ["b", "c"]
    assert found["aa"] == found["d"] == []


async def test_a_whole_backup_is_found_whole(vault, scratch):
    await keep(vault, "1", {"a": b"a", "b": b"b"}, scratch)

    found = await verify(vault, await read_manifest(vault))

    assert (found.documents, found.objects, found.faults) == (1, 2, ())


@pytest.mark.parametrize("hurt", ["cut", "changed", "missing"])
async def test_each_file_that_is_not_what_it_was_is_named(vault, scratch, tmp_path, hurt):
    await keep(vault, "1", {"a": b"abc"}, scratch)
    names = ["backups/1/documents/series/00000000.bson.gz", blob_name(sha256(b"abc").hexdigest())]
    for name in names:
        path = tmp_path / "vault" / name
        data = path.read_bytes()
        if hurt == "missing":
            path.unlink()
        else:
            path.write_bytes(data[:-1] if hurt == "cut" else bytes([data[0] ^ 1]) + data[1:])

    found = await verify(vault, await read_manifest(vault))
    quick = await verify(vault, await read_manifest(vault), quick=True)

    assert all(any(name in fault for fault in found.faults) for name in names)
    assert any(names[1] in fault for fault in quick.faults) is (hurt != "changed")


async def test_pruning_removes_what_no_other_backup_has_and_nothing_else(vault, scratch, tmp_path):
    await keep(vault, "1", {"a": b"shared", "b": b"only here"}, scratch)
    await keep(vault, "2", {"a": b"shared"}, scratch)
    await keep(vault, "3", {"c": b"of one that was killed"}, scratch, whole=False)
    silent(tmp_path / "vault" / "backups" / "3")

    removed = await prune(vault, keep=1)

    assert removed == Pruned(("1",), 1)
    assert await vault.names("backups/1/") == []
    assert (await verify(vault, await read_manifest(vault))).faults == ()
    assert await vault.size_bytes(blob_name(sha256(b"only here").hexdigest())) is None
    assert await vault.size_bytes(blob_name(sha256(b"of one that was killed").hexdigest())) is not None


def silent(backup: Path) -> None:
    """Let nothing have been written to a backup for more than an hour."""
    for path in backup.rglob("*"):
        os.utime(path, (time.time() - 3601, time.time() - 3601))


async def test_no_object_goes_while_a_backup_is_being_made(vault, scratch):
    await keep(vault, "1", {"a": b"only here"}, scratch)
    await keep(vault, "2", {"b": b"b"}, scratch)
    await keep(vault, "3", {"c": b"listed"}, scratch, whole=False)
    (scratch / "file").write_bytes(b"copied, and not listed yet")
    await vault.put(blob_name(sha256(b"copied, and not listed yet").hexdigest()), scratch / "file")

    removed = await prune(vault, keep=1)

    assert removed == Pruned(("1",), 0, ("3",))
    assert len(await vault.names("objects/")) == 4


async def test_no_object_goes_any_more_once_a_backup_is_begun(tmp_path, scratch):
    class BegunMeanwhile(Folder):
        async def delete(self, name: str) -> None:
            await super().delete(name)
            await keep(self, "3", {"c": b"c"}, scratch, whole=False)

    vault = BegunMeanwhile(tmp_path / "vault")
    await keep(vault, "2", {"a": b"a"}, scratch)
    for n in range(40):
        (scratch / "file").write_bytes(str(n).encode())
        await vault.put(blob_name(sha256(str(n).encode()).hexdigest()), scratch / "file")
    first = min(sha256(str(n).encode()).hexdigest()[:2] for n in range(40))

    removed = await prune(vault, keep=1)

    gone = [n for n in range(40) if await vault.size_bytes(blob_name(sha256(str(n).encode()).hexdigest())) is None]
    assert {sha256(str(n).encode()).hexdigest()[:2] for n in gone} == {first}
    assert removed == Pruned((), len(gone), ("3",))


async def test_what_killed_backups_have_left_goes_and_not_one_that_is_being_made(vault, scratch, tmp_path):
    for backup_id in ("1", "2", "3", "5"):
        await keep(vault, backup_id, {"a": b"a"}, scratch, whole=backup_id == "1")
    silent(tmp_path / "vault" / "backups" / "2")
    silent(tmp_path / "vault" / "backups" / "5")

    await drop_killed(vault, before="4")

    left = [each for each in await vault.folders("backups/") if await vault.names(f"backups/{each}/")]
    assert left == ["1", "3", "5"]


async def test_each_object_of_a_backup_that_stays_stays_and_each_list_is_read_once(tmp_path, scratch):
    vault = Watched(tmp_path / "vault")
    objects = {f"{n:03}": str(n).encode() for n in range(40)}
    for night in range(6):
        # Each night one object goes, one is new and one has changed.
        objects.pop(f"{night:03}")
        objects[f"{night + 100}"] = f"new {night}".encode()
        objects[f"{night + 20:03}"] = f"changed {night}".encode()
        await keep(vault, f"2026-{night}", objects, scratch)
    before = await vault.names("objects/")

    removed = await prune(vault, keep=2)

    lists = [name for name in vault.read if "/objects/" in name]
    assert sorted(lists) == sorted(
        await vault.names("backups/2026-4/objects/") + await vault.names("backups/2026-5/objects/")
    )
    for kept in ("2026-4", "2026-5"):
        found = await verify(vault, await read_manifest(vault, kept))
        assert (found.objects, found.faults) == (40, ())
    assert removed.objects == len(before) - 42 == 8  # what was gone or had changed before the older of the two
    assert len(await vault.names("objects/")) == 42


@pytest.mark.parametrize("hurt", ["cut", "missing"])
async def test_no_object_goes_while_a_list_of_a_backup_that_stays_cannot_be_read(vault, scratch, tmp_path, hurt):
    await keep(vault, "1", {"a": b"a", "b": b"b", "c": b"c"}, scratch)
    await keep(vault, "2", {"d": b"d"}, scratch)
    path = tmp_path / "vault" / "backups/1/objects/00000001.jsonl.gz"
    if hurt == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-4])

    with pytest.raises((ObjectMissingError, BackupError)):
        await prune(vault, keep=2)

    assert len(await vault.names("objects/")) == 4


async def test_where_no_backup_is_whole_pruning_removes_nothing(vault, scratch):
    await keep(vault, "1", {"a": b"a"}, scratch, whole=False)
    (scratch / "file").write_bytes(b"of a page that is not listed yet")
    await vault.put(blob_name(sha256(b"of a page that is not listed yet").hexdigest()), scratch / "file")

    removed = await prune(vault, keep=1)

    assert (removed.backups, removed.objects) == ((), 0)


async def test_several_lists_are_read_as_one_in_the_order_of_their_keys():
    old, new = [line_of(key, b"1") for key in "acd"], [line_of("a", b"1"), line_of("b", b"1"), line_of("c", b"2")]

    found = [line async for line in merged([given(old), given([]), given(new)])]

    assert [line.key for line in found] == ["a", "b", "c", "c", "d"]
    assert {line.sha256 for line in found if line.key == "c"} == {old[1].sha256, new[2].sha256}


async def test_a_collection_is_kept_in_parts_that_hold_each_record_once(vault, scratch, tmp_path):
    raw = [encode({"_id": n, "data": "x" * 100}) for n in range(10)]

    parts = await write_records(vault, "backups/1/documents/series/", given(raw), scratch, part_bytes=3 * len(raw[0]))
    none = await write_records(vault, "backups/1/documents/studies/", given([]), scratch)

    assert [part.count for part in parts] == [3, 3, 3, 1]
    assert none == ()
    read = b"".join(gzip.decompress((tmp_path / "vault" / part.file).read_bytes()) for part in parts)
    assert list(read_bson(io.BytesIO(read))) == raw
    assert [part.sha256 for part in parts] == [digest(tmp_path / "vault" / part.file) for part in parts]


async def test_a_backup_of_the_format_before_with_one_file_a_collection_is_read(vault, scratch, tmp_path):
    await keep(vault, "1", {"a": b"a"}, scratch)
    manifest = tmp_path / "vault" / "backups/1/manifest.json"
    written = json.loads(manifest.read_text())
    written |= {"format": 1, "documents": {"series": written["documents"]["series"][0]}}
    manifest.write_text(json.dumps(written))

    found = await verify(vault, await read_manifest(vault))

    assert (found.documents, found.objects, found.faults) == (1, 1, ())


async def test_a_backup_of_a_later_format_is_refused(vault, scratch, tmp_path):
    await keep(vault, "1", {"a": b"a"}, scratch)
    manifest = tmp_path / "vault" / "backups/1/manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"format":{FORMAT}', f'"format":{FORMAT + 1}'))

    with pytest.raises(BackupError, match="this release reads up to"):
        await read_manifest(vault)


async def test_a_file_that_is_not_there_is_said_to_be_missing(vault, scratch):
    with pytest.raises(ObjectMissingError):
        await vault.get("objects/none", scratch / "file")


@pytest.mark.parametrize("target", ["http://store/bucket", "s3://", "s3://radbus/prefix"])
def test_what_is_no_place_for_backups_is_refused(target):
    environment = {"RADBUS_S3_URL": "http://store", "RADBUS_S3_BUCKET": "radbus"}

    with pytest.raises(NotAVaultError):
        vault_of(target, environment)


def test_records_are_cut_out_of_a_stream_as_they_are():
    raw = [encode({"_id": n, "at": AT, "data": "x" * n}) for n in range(3)]

    found = list(read_bson(io.BytesIO(b"".join(raw))))

    assert found == raw
    assert [document_of(each)["at"] for each in found] == [AT] * 3


@pytest.mark.parametrize("stream", [b"\x05", b"\xff\xff\xff\xff", encode({"_id": 1})[:-1], b"\x01\x00\x00\x00"])
def test_a_stream_that_ends_in_a_record_or_holds_something_else_is_refused(stream):
    with pytest.raises(NotBsonError):
        list(read_bson(io.BytesIO(stream)))
