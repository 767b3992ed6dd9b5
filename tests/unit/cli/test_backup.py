"""Backups as files: what is shared, what is found wrong, what is removed; no server is needed for it."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from bson import encode
from radbus_cli.backup.listings import Known, write_part
from radbus_cli.backup.manifest import BackupError, Kept, Manifest, ObjectLine, blob_name, digest, read_manifest
from radbus_cli.backup.pruning import prune
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


async def keep(vault: Folder, backup_id: str, objects: dict[str, bytes], scratch: Path, *, whole: bool = True) -> None:
    """Write a backup with one record and these objects, or one that was killed before its manifest."""
    file = scratch / "file"
    for data in objects.values():
        file.write_bytes(data)
        await vault.put(blob_name(sha256(data).hexdigest()), file)
    lines = [line_of(key, data) for key, data in sorted(objects.items())]
    part = await write_part(vault, backup_id, 0, lines, scratch)
    with gzip.open(file, "wb") as out:
        out.write(encode({"_id": "north/1.2.3", "at": AT}))
    name = f"backups/{backup_id}/documents/series.bson.gz"
    await vault.put(name, file)
    documents = {"series": Kept(file=name, count=1, size_bytes=file.stat().st_size, sha256=digest(file))}
    if whole:
        manifest = Manifest(
            id=backup_id,
            started_at=AT,
            finished_at=AT,
            documents=documents,
            listings=(part,),
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
    names = ["backups/1/documents/series.bson.gz", blob_name(sha256(b"abc").hexdigest())]
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


async def test_pruning_removes_what_no_other_backup_has_and_nothing_else(vault, scratch):
    await keep(vault, "1", {"a": b"shared", "b": b"only here"}, scratch)
    await keep(vault, "2", {"a": b"shared"}, scratch)
    await keep(vault, "3", {"c": b"just being copied"}, scratch, whole=False)

    removed = await prune(vault, keep=1)

    assert (removed.backups, removed.objects) == (("1",), 1)
    assert await vault.names("backups/1/") == []
    assert (await verify(vault, await read_manifest(vault))).faults == ()
    assert await vault.size_bytes(blob_name(sha256(b"only here").hexdigest())) is None
    assert await vault.size_bytes(blob_name(sha256(b"just being copied").hexdigest())) is not None


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
