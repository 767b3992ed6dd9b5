"""Taking archives apart."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from radbus_dicom.errors import ZipNotValid
from radbus_dicom.zips import ZipLimits
from radbus_ingest.adapters.spool import Room, Spool
from radbus_ingest.adapters.zips import Archive

LIMITS = ZipLimits(entries=5, inflated_bytes=10**9, ratio=10)


def new_spool() -> Spool:
    return Spool(Room(memory_bytes=10**6, part_memory_bytes=10**6), limit_bytes=10**6)


def spooled(content: bytes) -> Spool:
    spool = new_spool()
    spool.write(content)
    return spool


def zipped(entries: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def read_all(content: bytes, limits: ZipLimits = LIMITS) -> dict[str, bytes]:
    archive = Archive(spooled(content), limits)
    found = {}
    for entry in archive.entries:
        spool = archive.spool(entry, new_spool)
        spool.file.seek(0)
        found[entry.filename] = spool.file.read()
    return found


def test_entries_come_with_their_names_and_folders_are_no_entries() -> None:
    content = zipped({"ct/": b"", "ct/1.dcm": b"one", "../../etc/2.dcm": b"two"})

    entries = read_all(content)

    assert entries == {"ct/1.dcm": b"one", "../../etc/2.dcm": b"two"}


def test_too_many_entries_are_refused() -> None:
    content = zipped({str(n): b"1" for n in range(6)})

    with pytest.raises(ZipNotValid, match="at most 5 entries"):
        read_all(content)


def test_a_zip_that_grows_beyond_the_limit_is_refused_before_it_is_inflated() -> None:
    content = zipped({"bomb": bytes(2000)})

    with pytest.raises(ZipNotValid, match="1000 bytes when inflated"):
        read_all(content, replace(LIMITS, inflated_bytes=1000))


def test_a_zip_that_grows_suspiciously_is_refused_before_it_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radbus_dicom.zips._SMALL_BYTES", 1000)
    content = zipped({"bomb": bytes(100_000)})

    with pytest.raises(ZipNotValid, match="10 times"):
        read_all(content)


def test_a_zip_within_a_zip_is_refused() -> None:
    content = zipped({"inner.zip": zipped({"1": b"1" * 200})})

    with pytest.raises(ZipNotValid, match="not another zip"):
        read_all(content)


def test_an_entry_compressed_in_an_unusual_way_is_refused() -> None:
    content = zipped({"1": b"1" * 200}, zipfile.ZIP_LZMA)

    with pytest.raises(ZipNotValid, match="stored or deflated"):
        read_all(content)


def test_an_encrypted_entry_is_refused() -> None:
    content = bytearray(zipped({"1": b"1" * 200}))
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(ZipNotValid, match="not encrypted"):
        read_all(bytes(content))


def test_an_entry_larger_than_a_part_may_be_is_marked() -> None:
    archive = Archive(spooled(zipped({"1": bytes(2_000_000)})), LIMITS)

    spool = archive.spool(archive.entries[0], new_spool)

    assert spool.is_too_large


GOOD = zipped({"1": b"one" * 100, "2": b"two" * 100})


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
@example(126, 0, 0)  # an entry without a name
def test_a_damaged_zip_raises_nothing_but_a_refusal(at: int, value: int, end: int) -> None:
    content = bytearray(GOOD)
    content[at] = value

    for damaged in (bytes(content), bytes(content[:end])):
        with suppress(ZipNotValid):
            read_all(damaged)
