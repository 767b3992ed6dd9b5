"""Look at an encoded frame before a decoder does: decoders make room for what it says, or abort the whole process."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.encaps import get_frame
from pydicom.uid import UID

from radbus_dicom.errors import PixelsNotDecodable

# 16 bytes a pixel hold three samples of 32 bits however badly they are packed; a blank frame shrinks ten thousandfold.
_MOST_BYTES_A_PIXEL: Final = 16
_HEADERS_BYTES: Final = 64 * 1024
_GROWTH_LIMIT: Final = 1000
_SMALL_BYTES: Final = 64 * 1024 * 1024
_ELEMENT_HEADER_BYTES: Final = 12
_OFFSETS: Final = ["ExtendedOffsetTable", "ExtendedOffsetTableLengths"]
_KEYWORDS: Final = ["NumberOfFrames", *_OFFSETS]
_SIZ: Final = b"\xff\x4f\xff\x51"  # SOC and SIZ, with which a JPEG 2000 codestream begins
# Start of frame of all kinds; the others of this range are tables (ISO/IEC 10918-1 B.1.1.3, 14495-1 C.2.2).
_START_OF_FRAME: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}


def refuse_false_frames(path: Path, frame_numbers: list[int], shape: tuple[int, int]) -> None:
    """Compare what encapsulated frames say of themselves with `shape`, rows and columns as the header says.

    Raises:
        PixelsNotDecodable: A frame is of another size, longer than it can be, or shorter than a decoder may make it.
    """
    with path.open("rb") as file:
        ds = dcmread(file, stop_before_pixels=True, force=True, specific_tags=_KEYWORDS)
        transfer_syntax_uid = UID(ds.file_meta.get("TransferSyntaxUID", ""))
        if not transfer_syntax_uid.is_transfer_syntax or not transfer_syntax_uid.is_encapsulated:
            return
        start = file.tell() + _ELEMENT_HEADER_BYTES
        count = int(ds.get("NumberOfFrames") or 1)
        offsets = tuple(ds.get(keyword) for keyword in _OFFSETS)
        for number in frame_numbers:
            file.seek(start)
            try:
                frame = get_frame(
                    file, number - 1, number_of_frames=count, extended_offsets=offsets if all(offsets) else None
                )
            except ValueError:  # the decoder finds it in the same way, and will say that there is none
                return
            refuse_false_frame(frame, shape)


def refuse_false_frame(frame: bytes, shape: tuple[int, int]) -> None:
    """Do so for one frame.

    Raises:
        PixelsNotDecodable: As above.
    """
    pixels = shape[0] * shape[1]
    if len(frame) > pixels * _MOST_BYTES_A_PIXEL + _HEADERS_BYTES:
        raise PixelsNotDecodable(f"Expected an encoded frame of {shape} pixels; it has {len(frame)} bytes.")
    if pixels * 2 > max(_SMALL_BYTES, len(frame) * _GROWTH_LIMIT):
        raise PixelsNotDecodable(f"Expected a frame of {shape} pixels; {len(frame)} bytes cannot hold it.")
    said = size_of(frame)
    if said is not None and said != shape:
        raise PixelsNotDecodable(f"Expected a frame of {shape} pixels; it says that it has {said}.")


def size_of(frame: bytes) -> tuple[int, int] | None:
    """Return the rows and columns that a JPEG, JPEG-LS or JPEG 2000 codestream gives, None where it gives none."""
    at = frame.find(_SIZ)
    if at >= 0 and len(frame) >= at + 24:
        right, bottom, left, top = struct.unpack_from(">4L", frame, at + 8)
        return bottom - top, right - left
    return _size_in_jpeg(frame) if frame[:2] == b"\xff\xd8" else None


def _size_in_jpeg(frame: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return rows, columns
        at += 1 if marker == 0xFF else 2 + length  # a marker may begin with fill bytes
    return None
