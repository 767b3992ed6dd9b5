"""Multipart bodies: the pieces in which they come decide nothing, and no bytes raise anything but a refusal."""

from __future__ import annotations

import email.parser
import email.policy
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from radbus_ingest.adapters.bodies import body_kind
from radbus_ingest.adapters.multipart import MultipartBody
from radbus_ingest.adapters.spool import Room, Spool
from radbus_ingest.domain.limits import BodyError
from requests_toolbelt import MultipartDecoder, MultipartEncoder

from tests.unit.fuzz.effort import fuzzed

ROOM = Room(memory_bytes=10**7, part_memory_bytes=10**6)
BOUNDARY = "b0undary"
CONTENTS = st.binary(max_size=200) | st.sampled_from(
    [b"\r\n", b"\r\n--", b"--" + BOUNDARY.encode(), b"\r\n--b0undar", b"\r\n\r\n--b0", b"\n--b0undary\n", b"\r" * 5]
)


def take_apart(body: bytes, cuts: list[int], boundary: bytes | None = BOUNDARY.encode()) -> list[tuple[str, bytes]]:
    reader = MultipartBody(boundary, lambda: Spool(ROOM, limit_bytes=10**6), part_limit=20)
    ends = sorted({min(cut, len(body)) for cut in cuts} | {len(body)})
    parts = []
    try:
        for start, end in zip([0, *ends], ends, strict=False):
            parts += reader.feed(body[start:end])
        reader.finish()
        return [(part.name, _content(part.spool)) for part in parts]
    finally:
        reader.close()
        for part in parts:
            part.spool.close()


def _content(spool: Spool) -> bytes:
    spool.file.seek(0)
    return spool.file.read()


@fuzzed
@given(st.lists(CONTENTS, min_size=1, max_size=5), st.lists(st.integers(0, 1500), max_size=30))
def test_parts_are_those_that_other_readers_find_in_whatever_pieces_the_body_comes(contents, cuts):
    assume(not any(b"--" + BOUNDARY.encode() in b"\r\n" + content for content in contents))
    fields = [(f"f{number}", ("1.dcm", content, "application/dicom")) for number, content in enumerate(contents)]
    body = MultipartEncoder(fields, boundary=BOUNDARY).to_string()
    content_type = f"multipart/form-data; boundary={BOUNDARY}"

    parts = take_apart(body, cuts)

    assert parts == [(f"f{number}", content) for number, content in enumerate(contents)]
    assert [content for _, content in parts] == [part.content for part in MultipartDecoder(body, content_type).parts]
    if not any(b"\r" in content or b"\n" in content for content in contents):  # which that parser makes one
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
            f"Content-Type: {content_type}\r\n\r\n".encode() + body
        )
        assert [part.get_payload(decode=True) for part in message.iter_parts()] == contents


@fuzzed
@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from(
            [b"\r\n--b0undary\r\n", b"--b0undary", b"--", b"\r\n", b"\r\n\r\n", b"Content-Disposition: ", b"a: b"]
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 500), max_size=10),
    st.sampled_from([BOUNDARY.encode(), None, b"x" * 201, b" "]),
)
def test_any_bytes_are_parts_or_a_refusal_and_leave_nothing_behind(pieces, cuts, boundary):
    before = ROOM.used_bytes

    with suppress(BodyError):
        take_apart(b"".join(pieces), cuts, boundary)

    assert ROOM.used_bytes == before


@pytest.mark.parametrize(
    "body",
    [
        b"--b0undary\r\n" + b"X: 1\r\n" * 1000,
        b"--b0undary\r\nX: " + b"a" * 100_000,
        b"--b0undary\r\n" + b"a" * 100_000,
        b"a preamble without end " * 10_000,
    ],
    ids=["headers", "a header", "a header's name", "a preamble"],
)
def test_what_has_no_end_is_refused_before_it_is_much(body):
    reader = MultipartBody(BOUNDARY.encode(), lambda: Spool(ROOM, limit_bytes=10**6), part_limit=20)

    with pytest.raises(BodyError):
        _feed(reader, body)

    reader.close()


def _feed(reader: MultipartBody, body: bytes) -> None:
    for start in range(0, len(body), 1000):
        reader.feed(body[start : start + 1000])


@fuzzed
@given(st.text(max_size=100) | st.builds("multipart/{}; boundary={}; type={}".format, st.text(), st.text(), st.text()))
@example("multipart/related; boundary*=utf-8''%FF")
@example('multipart/form-data; boundary="' + "\\" * 5000)
def test_any_content_type_is_a_kind_of_body_or_a_refusal(content_type):
    with suppress(BodyError):
        body_kind(content_type)
