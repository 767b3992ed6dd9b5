"""Zips: whatever is damaged or false in one, it ends as entries within the limits, or as a typed refusal."""

from __future__ import annotations

import io
import struct
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from radbus_dicom.errors import SeriesNotUsable, ZipNotValid
from radbus_dicom.zips import ZipLimits
from radbus_ingest.adapters.spool import Room, Spool
from radbus_ingest.adapters.zips import Archive
from radbus_worker.adapters.archives import read_entries, unpack
from radbus_worker.domain.archives import by_channel, channel_of

from tests.unit.fuzz.effort import fuzzed
from tests.unit.fuzz.instances import VALID

LIMITS = ZipLimits(entries=8, inflated_bytes=10**6)
ROOM = Room(memory_bytes=10**7, part_memory_bytes=10**6)


def zipped(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = zipped(("ct/1", VALID[0]), ("flair\\2", VALID[1]), ("ct/", b""))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Change bytes and numbers of a zip, most of all of its directory."""
    content = bytearray(GOOD)
    directory = content.index(b"PK\x01\x02")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(directory, len(content) - 1) | st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["flip", "number", "cut", "insert"])):
            case "flip":
                content[at] = draw(st.integers(0, 255))
            case "number":
                content[at : at + 4] = struct.pack("<L", draw(st.sampled_from([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])))
            case "cut":
                del content[max(at, 30) :]
                directory = 0
            case "insert":
                content[at:at] = draw(
                    st.binary(max_size=30) | st.sampled_from([b"PK\x06\x06", b"PK\x05\x06", b"PK\x06\x07"])
                )
        directory = min(directory, len(content) - 1)
    return bytes(content)


@fuzzed
@given(damaged())
def test_a_damaged_upload_is_entries_within_the_limits_or_a_refusal(content):
    def new_spool() -> Spool:
        return Spool(ROOM, limit_bytes=10**6)

    spool = new_spool()
    spool.write(content)

    with suppress(ZipNotValid):
        archive = Archive(spool, LIMITS)
        for entry in archive.entries:
            with suppress(ZipNotValid):
                inflated = archive.spool(entry, new_spool)
                assert inflated.size_bytes <= entry.file_size
                inflated.close()

    spool.close()
    assert ROOM.used_bytes == 0


@fuzzed
@given(damaged())
def test_a_damaged_archive_of_a_run_is_instances_in_its_folder_or_a_reason(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("run")
    path = folder / "archive.zip"
    path.write_bytes(content)

    with suppress(SeriesNotUsable):
        entries = read_entries(path, LIMITS)
        unpack(path, [(entry.index, folder / f"{entry.index}.dcm") for entry in entries], ("Modality",))

    assert all(each.suffix in (".zip", ".dcm") for each in folder.iterdir())


@fuzzed
@given(
    st.lists(st.text(max_size=60) | st.sampled_from(["../../etc/passwd", "C:\\x\\1", "/1", "a/../..", "ct//1", "//"]))
)
def test_any_name_of_an_entry_is_in_one_channel_or_in_none(names):
    channels = [channel_of(name) for name in names]

    assert all(channel is None or not set("/\\") & set(channel) for channel in channels)
    assert by_channel([]) == {}


def overlapping(count: int) -> bytes:
    """A zip whose directory names the same bytes many times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1", bytes(100_000))
        (entry,) = archive.infolist()
        archive.filelist += [entry] * count
    return buffer.getvalue()


def test_entries_that_lie_in_one_another_are_refused():
    spool = Spool(ROOM, limit_bytes=10**6)
    spool.write(overlapping(5))

    with pytest.raises(ZipNotValid, match="one behind the other"):
        Archive(spool, LIMITS)

    spool.close()
