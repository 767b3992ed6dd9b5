"""Taking multipart bodies apart."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from radbus_ingest.adapters.multipart import MultipartBody
from radbus_ingest.adapters.spool import Part, Room, Spool
from radbus_ingest.domain.limits import BodyError, BodyTooLargeError

Multipart = Callable[..., bytes]


def take_apart(
    body: bytes, *, boundary: bytes | None = b"b", piece_bytes: int = 100, part_limit: int = 9
) -> list[Part]:
    room = Room(memory_bytes=10**6, part_memory_bytes=10**6)
    reader = MultipartBody(boundary, lambda: Spool(room, limit_bytes=10**6), part_limit=part_limit)
    parts = []
    try:
        for at in range(0, len(body), piece_bytes):
            parts += reader.feed(body[at : at + piece_bytes])
        reader.finish()
    finally:
        reader.close()
    return parts


def contents(parts: list[Part]) -> dict[str, bytes]:
    found = {}
    for part in parts:
        part.spool.file.seek(0)
        found[part.name] = part.spool.file.read()
    return found


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 64, 10_000])
def test_parts_are_whole_in_whatever_pieces_the_body_comes(piece_bytes: int, multipart: Multipart) -> None:
    body = multipart(("one", b"\r\n--bx" * 30), ("two", b""), ("three", bytes(range(256))))

    parts = take_apart(body, piece_bytes=piece_bytes)

    assert contents(parts) == {"one": b"\r\n--bx" * 30, "two": b"", "three": bytes(range(256))}


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\r\n\r\n", b"This is a message in MIME format.\r\n"])
def test_what_comes_before_the_first_boundary_is_skipped(before: bytes, multipart: Multipart) -> None:
    body = before + multipart(("one", b"1"))

    parts = take_apart(body, piece_bytes=3)

    assert contents(parts) == {"one": b"1"}


@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_without_a_parameter_the_boundary_is_the_first_line(before: bytes, multipart: Multipart) -> None:
    body = before + multipart(("one", b"1"), boundary="----WebKitFormBoundary0123456789")

    parts = take_apart(body, boundary=None, piece_bytes=5)

    assert contents(parts) == {"one": b"1"}


@pytest.mark.parametrize("body", [b"", b"DICM", b"no boundary\r\n\r\n", b"--\r\n", b"--" + b"x" * 300 + b"\r\n"])
def test_without_any_boundary_a_body_is_refused(body: bytes) -> None:
    with pytest.raises(BodyError):
        take_apart(body, boundary=None)


def test_a_boundary_that_is_far_too_long_is_refused(multipart: Multipart) -> None:
    boundary = "x" * 5000

    with pytest.raises(BodyError, match="boundary of at most"):
        take_apart(multipart(("one", b"1"), boundary=boundary), boundary=boundary.encode())


def test_a_body_that_was_cut_is_refused_and_frees_its_room(multipart: Multipart) -> None:
    body = multipart(("one", b"1" * 50), end=False)

    with pytest.raises(BodyError, match="cut"):
        take_apart(body)


def test_the_closing_boundary_needs_no_line_end(multipart: Multipart) -> None:
    body = multipart(("one", b"1")).rstrip()

    parts = take_apart(body)

    assert contents(parts) == {"one": b"1"}


def test_more_parts_than_the_limit_are_refused(multipart: Multipart) -> None:
    body = multipart(*((f"f{n}", b"1") for n in range(10)))

    with pytest.raises(BodyTooLargeError):
        take_apart(body, part_limit=9)


def test_a_part_without_a_name_is_named_by_its_number() -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b--"

    parts = take_apart(body)

    assert contents(parts) == {"part0": b"1", "part1": b"2"}


@given(st.binary(max_size=400), st.integers(1, 50), st.booleans())
def test_no_body_raises_anything_but_a_body_error(noise: bytes, piece_bytes: int, named: bool) -> None:
    body = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n" + noise

    with suppress(BodyError):
        take_apart(body if named else noise, boundary=b"b" if named else None, piece_bytes=piece_bytes)
