"""Zips of strangers: how much they may hold, as their directory says it."""

from __future__ import annotations

import zipfile
from io import BytesIO

import pytest
from radbus_dicom.errors import ZipNotValid
from radbus_dicom.zips import BoundedZip, ZipLimits

MEGABYTE = 2**20
LIMITS = ZipLimits(inflated_bytes=1024 * MEGABYTE, ratio=10)


def zip_of(inflated_bytes: int) -> BoundedZip:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        content.writestr("1.dcm", b"1")
    opened = BoundedZip(file)
    opened.entries[0].file_size = inflated_bytes  # what the directory says
    return opened


def test_a_small_zip_may_grow_more_than_a_large_one():
    zip_of(200 * MEGABYTE).check(LIMITS, size_bytes=1000)
    zip_of(300 * MEGABYTE).check(LIMITS, size_bytes=31 * MEGABYTE)

    with pytest.raises(ZipNotValid, match="at most 10 times"):
        zip_of(300 * MEGABYTE).check(LIMITS, size_bytes=1000)
    with pytest.raises(ZipNotValid, match="bytes when inflated"):
        zip_of(1025 * MEGABYTE).check(LIMITS, size_bytes=1024 * MEGABYTE)
