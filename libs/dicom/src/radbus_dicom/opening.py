"""Open a stored instance as a pydicom Dataset with bounded memory, for geometry and decoding."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from radbus_dicom.encoding import open_data_set
from radbus_dicom.quiet import silence_pydicom

silence_pydicom()

INFLATED_INSTANCE_LIMIT_BYTES = 512 * 1024 * 1024
_PIXEL_GROUP = 0x7FE0


def read_header_dataset(path: Path, keywords: list[str] | None = None) -> Dataset:
    """Read all elements before the pixel data, or only those of `keywords`; `file_meta` is always there."""
    if _is_deflated(path):
        return _inflated(path, with_pixels=False)
    return dcmread(path, stop_before_pixels=True, force=True, specific_tags=keywords)


def read_inflated_dataset(path: Path) -> Dataset | None:
    """Read an instance with its pixels if it is deflated, as explicit little endian; None where it is not.

    Raises:
        InvalidInstance: It inflates to more than `INFLATED_INSTANCE_LIMIT_BYTES`, or is damaged.
    """
    return _inflated(path, with_pixels=True) if _is_deflated(path) else None


def _is_deflated(path: Path) -> bool:
    # Deflated instances are rare: their UID is near the beginning of the file, or the file is not deflated.
    with path.open("rb") as file:
        return str(DeflatedExplicitVRLittleEndian).encode() in file.read(2048)


def _inflated(path: Path, *, with_pixels: bool) -> Dataset:
    with path.open("rb") as file:
        stream = open_data_set(file, size_bytes=path.stat().st_size, inflated_limit_bytes=INFLATED_INSTANCE_LIMIT_BYTES)
        if stream.size_bytes is not None:
            return dcmread(path, stop_before_pixels=not with_pixels, force=True)
        ds = read_dataset(
            BytesIO(stream.file.read()) if with_pixels else cast("BinaryIO", stream.file),
            is_implicit_VR=stream.is_implicit_vr,
            is_little_endian=stream.is_little_endian,
            stop_when=None if with_pixels else _at_pixel_data,
        )
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _at_pixel_data(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001  pydicom's signature
    return tag >> 16 == _PIXEL_GROUP
