"""Encoded frames that say something else than their header: refused before a decoder makes room for it, or aborts."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless
from radbus_dicom.codestreams import size_of
from radbus_dicom.decoding import decode_into
from radbus_dicom.errors import PixelsNotDecodable
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import plan_volume

SIDE = 64
HUGE = 60_000


def jpeg_2000(side: int) -> bytes:
    return b"\xff\x4f\xff\x51" + struct.pack(">HH8LHBBB", 41, 0, side, side, 0, 0, side, side, 0, 0, 1, 11, 1, 1)


def jpeg(side: int, start_of_frame: int) -> bytes:
    table = b"\xff\xe0\x00\x04ab" + b"\xff"  # with a fill byte before the next marker
    return (
        b"\xff\xd8"
        + table
        + bytes([0xFF, start_of_frame])
        + struct.pack(">HBHHB3s", 11, 12, side, side, 1, b"\1\x11\0")
    )


@pytest.mark.parametrize(
    ("transfer_syntax_uid", "frame"),
    [
        (JPEG2000Lossless, jpeg_2000(HUGE)),
        (JPEGLSLossless, jpeg(HUGE, 0xF7)),
        (JPEGLosslessSV1, jpeg(HUGE, 0xC3)),
        (RLELossless, struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 200_000),
    ],
)
def test_a_frame_that_says_it_is_huge_or_is_longer_than_it_can_be_is_not_decoded(
    instance, as_file, tmp_path, transfer_syntax_uid, frame
):
    ds = instance(Rows=SIDE, Columns=SIDE, PixelData=None)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = tmp_path / "1.dcm"
    path.write_bytes(as_file(ds, transfer_syntax_uid))
    plan = plan_volume(read_frame_headers(path))

    with pytest.raises(PixelsNotDecodable, match=r"frame of \(64, 64\) pixels"):
        decode_into(path, plan.slots_by_path()[path], np.zeros(plan.shape, plan.dtype))


def test_a_few_bytes_are_not_decoded_into_gigabytes_even_where_the_header_says_so(instance, as_file, tmp_path):
    ds = instance(Rows=30_000, Columns=30_000, PixelData=None)
    ds.PixelData = encapsulate([jpeg_2000(30_000)])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = tmp_path / "1.dcm"
    path.write_bytes(as_file(ds, JPEG2000Lossless))
    plan = plan_volume(read_frame_headers(path))

    with pytest.raises(PixelsNotDecodable, match="bytes cannot hold it"):
        decode_into(path, plan.slots_by_path()[path], np.zeros((1, 30_000, 30_000), plan.dtype))


@pytest.mark.parametrize("frame", [jpeg_2000(SIDE), jpeg(SIDE, 0xC0), jpeg(SIDE, 0xF7)])
def test_the_size_of_a_frame_is_the_one_that_its_codestream_gives(frame):
    assert size_of(frame) == (SIDE, SIDE)


@pytest.mark.parametrize("frame", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\0\0" * 9, b"\xff\x4f\xff\x51", b"\0" * 100])
def test_a_frame_that_says_no_size_has_none(frame):
    assert size_of(frame) is None
