"""Where the bytes of a part wait."""

from __future__ import annotations

import hashlib
from io import BytesIO

from radbus_ingest.adapters.spool import Room, Spool


def read(spool: Spool) -> bytes:
    spool.file.seek(0)
    return spool.file.read()


def test_a_small_part_waits_in_memory_and_a_large_one_in_a_file() -> None:
    room = Room(memory_bytes=1000, part_memory_bytes=10)
    small, large = Spool(room, limit_bytes=100), Spool(room, limit_bytes=100)

    small.write(b"0123456789")
    large.write(b"0123456789")
    large.write(b"a")

    assert isinstance(small.file, BytesIO)
    assert not isinstance(large.file, BytesIO)
    assert read(large) == b"0123456789a"
    assert large.sha256 == hashlib.sha256(b"0123456789a").hexdigest()


def test_when_the_memory_of_all_parts_is_taken_the_next_waits_in_a_file() -> None:
    room = Room(memory_bytes=15, part_memory_bytes=10)
    first, second = Spool(room, limit_bytes=100), Spool(room, limit_bytes=100)

    first.write(b"0123456789")
    second.write(b"0123456789")

    assert isinstance(first.file, BytesIO)
    assert not isinstance(second.file, BytesIO)


def test_closing_gives_the_room_back_once() -> None:
    room = Room(memory_bytes=10, part_memory_bytes=10)
    spool = Spool(room, limit_bytes=100)
    spool.write(b"0123456789")

    spool.close()
    spool.close()

    assert room.used_bytes == 0
    assert room.take_memory(10)


def test_a_part_above_its_limit_is_marked_and_its_rest_dropped() -> None:
    room = Room(memory_bytes=100, part_memory_bytes=100)
    spool = Spool(room, limit_bytes=10)

    spool.write(b"0123456789")
    spool.write(b"a")
    spool.write(b"")

    assert spool.is_too_large
    assert room.used_bytes == 10


def test_an_instance_whose_preamble_begins_like_a_zip_is_no_zip() -> None:
    room = Room(memory_bytes=1000, part_memory_bytes=1000)
    instance, archive = Spool(room, limit_bytes=1000), Spool(room, limit_bytes=1000)

    instance.write(b"PK\x03\x04" + bytes(124) + b"DICM")
    archive.write(b"PK\x03\x04" + bytes(200))

    assert not instance.is_zip()
    assert archive.is_zip()
