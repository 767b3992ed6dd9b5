"""Opening an archive: whatever is in it, it ends as instances under names of ours, or as a reason."""

from __future__ import annotations

import stat
import struct
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from radbus_dicom.errors import SeriesNotUsable
from radbus_dicom.zips import ZipLimits
from radbus_testing.phantom import chest_phantom
from radbus_testing.phantom_dicom import phantom_instances
from radbus_worker.adapters.archives import read_entries, unpack

INSTANCE = next(iter(phantom_instances(chest_phantom(slices=3, rows=64))))
LIMITS = ZipLimits()


@pytest.fixture
def archive(tmp_path):
    def write(*entries: tuple[str | zipfile.ZipInfo, bytes], **options: int) -> Path:
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", **options) as content:
            for name, data in entries:
                content.writestr(name, data)
        return path

    return write


def unpacked(path: Path) -> list[Path]:
    entries = read_entries(path, LIMITS)
    folder = path.parent / "out"
    folder.mkdir()
    work = [(entry.index, folder / f"{entry.index}.dcm") for entry in entries]
    return [instance.path for instance in unpack(path, work, ("Modality",))]


def test_entries_are_written_under_names_of_ours_and_their_granted_elements_read(archive, tmp_path):
    path = archive(("ct/", b""), ("ct\\1", INSTANCE), ("../../etc/2.dcm", INSTANCE), compression=zipfile.ZIP_DEFLATED)

    entries = read_entries(path, LIMITS)
    out = tmp_path / "1.dcm"
    (instance,) = unpack(path, [(1, out)], ("Modality", "PatientName"))

    assert [(entry.index, entry.channel) for entry in entries] == [(1, "ct"), (2, "etc")]
    assert out.read_bytes() == INSTANCE
    assert instance.elements["Modality"] == "CT"
    assert instance.elements.keys() <= {"Modality", "PatientName"}
    assert {each.name for each in tmp_path.iterdir()} == {"archive.zip", "1.dcm"}


def test_a_link_in_an_archive_is_a_file_that_is_no_instance(archive):
    link = zipfile.ZipInfo("ct/1.dcm")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16

    with pytest.raises(SeriesNotUsable, match="cannot be read"):
        unpacked(archive((link, b"/etc/passwd")))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive_is_not_usable(tmp_path, content):
    path = tmp_path / "archive.zip"
    path.write_bytes(content)

    with pytest.raises(SeriesNotUsable, match="this is none, or it is damaged"):
        read_entries(path, LIMITS)


def test_an_entry_that_is_damaged_or_no_instance_or_a_zip_is_not_usable(archive):
    inner = BytesIO()
    with zipfile.ZipFile(inner, "w") as content:
        content.writestr("1.dcm", INSTANCE)
    whole = archive(("ct/1.dcm", INSTANCE))
    damaged = whole.read_bytes().replace(INSTANCE[2000:2010], b"\0damaged!\0")

    for entry, words in (
        (b"hello", "cannot be read"),
        (inner.getvalue(), "cannot be read"),
        (INSTANCE[:3000], "whole"),
    ):
        path = archive(("ct/1.dcm", entry))
        with pytest.raises(SeriesNotUsable, match=words):
            unpack(path, [(0, path.with_name(f"{len(entry)}.dcm"))], ())
    whole.write_bytes(damaged)
    with pytest.raises(SeriesNotUsable, match="damaged"):
        unpack(whole, [(0, whole.with_name("damaged.dcm"))], ())


def test_an_archive_that_is_encrypted_or_larger_than_allowed_is_not_opened(archive):
    path = archive(("ct/1.dcm", INSTANCE), ("ct/2.dcm", INSTANCE))

    for limits, words in (
        (ZipLimits(entries=1), "at most 1 entries"),
        (ZipLimits(inflated_bytes=len(INSTANCE)), "bytes when inflated"),
    ):
        with pytest.raises(SeriesNotUsable, match=words):
            read_entries(path, limits)
    content = bytearray(path.read_bytes())
    flags_at = content.index(b"PK\x01\x02") + 8
    content[flags_at : flags_at + 2] = struct.pack("<H", 1)
    path.write_bytes(content)
    with pytest.raises(SeriesNotUsable, match="not encrypted"):
        read_entries(path, LIMITS)


def test_a_reason_never_repeats_what_is_in_the_archive(archive):
    with pytest.raises(SeriesNotUsable) as reason:
        unpacked(archive(("Doe^Jane/Doe^Jane.dcm", b"Doe^Jane was born in 1960")))

    assert "Jane" not in str(reason.value)
