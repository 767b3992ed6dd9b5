"""Find out how an instance is encoded (PS3.10 7.1, PS3.5 10): preamble, file meta information, transfer syntax."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from radbus_dicom.errors import InvalidInstance, NotDicom
from radbus_dicom.inflating import InflatingReader

INFLATED_LIMIT_BYTES = 64 * 1024 * 1024
MAX_READS = 500_000  # two an element; bounds the time and memory of a header made of tiny elements
_META_VALUE_BYTES = 1024
_PREAMBLE_BYTES = 128


@dataclass(frozen=True, slots=True)
class FileMeta:
    """The file meta information that matters, empty where absent (PS3.10 7.1)."""

    transfer_syntax_uid: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class DataSetStream:
    """A file standing at the first element of its data set; `size_bytes` is None where it is being inflated."""

    file: CountingReader
    meta: FileMeta
    is_implicit_vr: bool
    is_little_endian: bool
    size_bytes: int | None
    warnings: tuple[str, ...] = field(default=())


class CountingReader:
    """A file-like object that gives up after a number of reads."""

    def __init__(self, file: BinaryIO | InflatingReader) -> None:
        self._read = file.read
        self.seek: Callable[..., int] = file.seek
        self.tell: Callable[[], int] = file.tell
        self._reads_left = MAX_READS

    def read(self, size: int = -1) -> bytes:
        """Read like a file.

        Raises:
            InvalidInstance: The header takes more than `MAX_READS` reads.
        """
        self._reads_left -= 1
        if self._reads_left < 0:
            raise InvalidInstance(f"expected a header of fewer than {MAX_READS // 2} elements")
        return self._read(size)


def open_data_set(
    file: BinaryIO, *, size_bytes: int, inflated_limit_bytes: int = INFLATED_LIMIT_BYTES
) -> DataSetStream:
    """Read what comes before the data set and say how the data set is encoded.

    Raises:
        NotDicom: Neither the DICM prefix nor a first element of group 0002 or 0008 is there.
    """
    warnings: list[str] = []
    start = _start_of_elements(file, warnings)
    file.seek(start)
    meta = _read_meta(file)
    reader: BinaryIO | InflatingReader = file
    is_deflated = meta.transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    if is_deflated:
        reader = InflatingReader(file, limit_bytes=inflated_limit_bytes)
    peek = reader.read(6)
    if len(peek) < 6:
        raise InvalidInstance(
            "expected a data set after the file meta information; there is none, or the latter is damaged"
        )
    reader.seek(-6, 1)
    implicit, little = _encoding(meta.transfer_syntax_uid, peek, warnings)
    if not meta.transfer_syntax_uid:
        warnings.append("TransferSyntaxUID is absent; it was guessed from the first element")
        meta = FileMeta(_guessed_uid(implicit=implicit, little=little), meta.sop_class_uid, meta.sop_instance_uid)
    return DataSetStream(
        file=CountingReader(reader),
        meta=meta,
        is_implicit_vr=implicit,
        is_little_endian=little,
        size_bytes=None if is_deflated else size_bytes,
        warnings=tuple(warnings),
    )


def _start_of_elements(file: BinaryIO, warnings: list[str]) -> int:
    file.seek(0)
    beginning = file.read(_PREAMBLE_BYTES + 4)
    if beginning[_PREAMBLE_BYTES:] == b"DICM":
        return _PREAMBLE_BYTES + 4
    warnings.append("the preamble of a DICOM file (PS3.10 7.1) is absent")
    if beginning[:6] == b"DICM\x02\x00":
        return 4
    if len(beginning) >= 8 and beginning[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return 0
    raise NotDicom(
        "expected a DICOM file (PS3.10): the prefix DICM at byte 128, or a data set that begins with group 0008"
    )


def _read_meta(file: BinaryIO) -> FileMeta:
    wanted = {0x00020002: "", 0x00020003: "", 0x00020010: ""}
    elements = data_element_generator(
        cast("BinaryIO", CountingReader(file)),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=_after_meta,
        defer_size=_META_VALUE_BYTES,
    )
    for element in elements:
        if element.tag in wanted and isinstance(element.value, bytes):
            wanted[element.tag] = element.value.decode("latin-1").strip("\0 ")
    return FileMeta(
        sop_class_uid=wanted[0x00020002], sop_instance_uid=wanted[0x00020003], transfer_syntax_uid=wanted[0x00020010]
    )


def _after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001  pydicom's signature
    return tag >> 16 != 2


def _encoding(transfer_syntax_uid: str, peek: bytes, warnings: list[str]) -> tuple[bool, bool]:
    """Return (is implicit VR, is little endian); the first element's bytes win over the transfer syntax."""
    looks_explicit = peek[4:6].isalpha() and peek[4:6].isupper()
    little = transfer_syntax_uid != ExplicitVRBigEndian
    if not transfer_syntax_uid:
        (group,) = struct.unpack("<H", peek[:2])
        little = not (looks_explicit and group >= 0x0400)
    declared_implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    if transfer_syntax_uid and declared_implicit == looks_explicit:
        found = "explicit" if looks_explicit else "implicit"
        warnings.append(f"the data set is written with {found} VR, against its transfer syntax {transfer_syntax_uid}")
    return not looks_explicit, little


def _guessed_uid(*, implicit: bool, little: bool) -> str:
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)
