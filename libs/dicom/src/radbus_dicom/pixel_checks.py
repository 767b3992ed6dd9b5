"""Check that the pixel data an instance declares is there, without reading it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from radbus_dicom.elements import JsonValue
from radbus_dicom.encoding import DataSetStream
from radbus_dicom.errors import FailureReason, InvalidInstance

_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM = (0xFFFE, 0xE000)
_SEQUENCE_DELIMITER = (0xFFFE, 0xE0DD)
_CUT = "expected a whole file; the pixel data is longer than what is left of it"


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data begins and how long it says it is."""

    vr: str | None
    length: int
    value_tell: int


def refuse_cut_pixels(pixels: PixelElement, stream: DataSetStream) -> None:
    """Refuse pixel data that the file's end cuts off; that of a deflated data set is not inflated to look.

    Raises:
        InvalidInstance: The declared length, or a fragment of encapsulated pixel data, goes beyond the file.
    """
    if stream.size_bytes is None:
        return
    if pixels.length != _UNDEFINED_LENGTH:
        if pixels.value_tell + pixels.length > stream.size_bytes:
            raise InvalidInstance(_CUT)
        return
    stream.file.seek(pixels.value_tell)
    while True:
        header = stream.file.read(8)
        if len(header) < 8:
            raise InvalidInstance(_CUT)
        group, element, length = struct.unpack("<HHL", header)
        if (group, element) == _SEQUENCE_DELIMITER:
            return
        if (group, element) != _ITEM or stream.file.tell() + length > stream.size_bytes:
            raise InvalidInstance("expected encapsulated pixel data as items within the file (PS3.5 A.4)")
        stream.file.seek(length, 1)


def refuse_wrong_length(pixels: PixelElement, elements: dict[str, JsonValue]) -> None:
    """Refuse pixel data that is absent or shorter than its rows, columns and frames need (PS3.3 C.7.6.3).

    Raises:
        InvalidInstance: With the reason A900, data set does not match SOP class.
    """
    mismatch = FailureReason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    shape = [elements.get(keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    if not all(isinstance(n, int) and n > 0 for n in shape):
        raise InvalidInstance("expected Rows, Columns and BitsAllocated greater than 0 beside pixel data", mismatch)
    if pixels.length == _UNDEFINED_LENGTH:
        return
    bits = 1
    for n in (*shape, elements.get("SamplesPerPixel", 1), elements.get("NumberOfFrames", 1)):
        bits *= n if isinstance(n, int) else 1
    needed = (bits + 7) // 8
    if elements.get("PhotometricInterpretation") == "YBR_FULL_422":
        needed = needed // 3 * 2
    if pixels.length < needed:
        raise InvalidInstance(
            f"expected {needed} bytes of pixel data, as the header says; found {pixels.length}", mismatch
        )
