"""Whatever an instance is damaged by, reading it gives a header that every store can hold, or a typed refusal."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from io import BytesIO

import bson
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian
from radbus_dicom.decoding import decode_into
from radbus_dicom.errors import InvalidInstance, SeriesNotUsable
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import plan_volume
from radbus_dicom.reading import Header, Profile, read_header
from radbus_runtime.conditions import Condition, Variables

from tests.unit.fuzz.effort import fuzzed
from tests.unit.fuzz.instances import VALID, damaged, instance

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
BSON_LIMIT_BYTES = 16 * 1024 * 1024
CONDITION = Condition('series.Modality == "CT"')


def in_character_set(name: bytes, text: bytes) -> bytes:
    """An instance whose texts are said to be in a character set of any name."""
    content = instance(ExplicitVRLittleEndian)
    at = content.index(struct.pack("<HH2s", 0x0008, 0x0005, b"CS"))
    (length,) = struct.unpack("<H", content[at + 6 : at + 8])
    named = struct.pack("<HH2sH", 0x0008, 0x0005, b"CS", len(name)) + name
    commented = struct.pack("<HH2sH", 0x0010, 0x4000, b"LT", len(text)) + text
    content = content[:at] + named + content[at + 8 + length :]
    after = content.index(struct.pack("<HH2s", 0x0020, 0x000D, b"UI"))
    return content[:after] + commented + content[after:]


def header_of(content: bytes, profile: Profile) -> Header | None:
    refusal = ""
    try:
        return read_header(BytesIO(content), size_bytes=len(content), profile=profile)
    except InvalidInstance as error:
        refusal = str(error)
    assert refusal
    assert "Secret" not in refusal
    return None


@fuzzed
@given(damaged(), st.sampled_from(Profile))
@example(in_character_set(b"unicode_escape", b"\xe9\\ud800x"), Profile.STRICT)
@example(in_character_set(b"utf-7 ", b"+2AA-\xe9"), Profile.STRICT)
@example(in_character_set(b"zlib_codec", b"\x1b$)C\xff "), Profile.STRICT)
@example(in_character_set(b"idna", b"\xff\xfe"), Profile.TOLERANT)
def test_a_damaged_instance_ends_as_a_header_that_every_store_can_hold_or_as_a_refusal(content, profile):
    header = header_of(content, profile)

    if header is None:
        return
    assert len(bson.encode({"elements": header.elements})) < BSON_LIMIT_BYTES
    assert json.dumps(header.elements, allow_nan=False).encode()
    for uid in (header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid, header.sop_class_uid):
        assert 0 < len(uid) <= 64
        assert set(uid) <= set("0123456789.")
    CONDITION.judge(Variables({"series": header.elements}))


@pytest.mark.parametrize("name", [b"unicode_escape", b"utf-7 ", b"zlib_codec", b"idna", b"undefined "])
def test_a_character_set_of_no_standard_is_a_warning_and_its_texts_are_told_as_latin(name):
    content = in_character_set(name, b"\xe9t\xe9 ")

    header = read_header(BytesIO(content), size_bytes=len(content))

    assert header.elements["PatientComments"] == "été"
    assert any("SpecificCharacterSet" in warning for warning in header.warnings)


PIXEL_REPRESENTATION = b"\x28\x00\x03\x01"


@fuzzed
@given(damaged())
@example(VALID[1].replace(PIXEL_REPRESENTATION + b"\2\0\0\0\0\0", PIXEL_REPRESENTATION + b"\1\0\0\0\0"))
def test_a_damaged_instance_ends_as_pixels_or_as_a_reason(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(content)

    with suppress(InvalidInstance, SeriesNotUsable):
        plan = plan_volume(read_frame_headers(path))
        if np.prod(plan.shape) < 10_000_000:
            decode_into(path, plan.slots_by_path()[path], np.zeros(plan.shape, plan.dtype))
