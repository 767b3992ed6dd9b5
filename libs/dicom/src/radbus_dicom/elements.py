"""Turn raw data elements into plain JSON values, fast: pydicom's own conversion takes 20 us an element."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeAlias, cast

from pydicom._dicom_dict import DicomDictionary
from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence

from radbus_dicom.errors import InvalidInstance

JsonValue: TypeAlias = "int | float | str | list[JsonValue] | dict[str, JsonValue]"
Element: TypeAlias = RawDataElement | DataElement

MAX_ELEMENT_BYTES = 4096
MAX_JSON_DEPTH = 4
MAX_NESTING = 32
MAX_TABLE_BYTES = 1024 * 1024  # of one data set, its sequences included; a document in MongoDB holds 16 MiB
DEFAULT_ENCODINGS = ["iso8859"]

SPECIFIC_CHARACTER_SET = 0x00080005
_PIXEL_REPRESENTATION = "PixelRepresentation"
_LATIN = {"iso8859", "latin_1", "iso-ir-6"}
# pydicom takes any name that Python has a codec for: some make texts that no store can hold, some are no texts at all.
_ENCODINGS = frozenset(python_encoding.values())
# Control characters, ^ = and backslash end an escape sequence's effect (PS3.5 6.1.2.5.3).
_DELIMITERS = {0x0D, 0x0A, 0x09, 0x0C, 0x5C, 0x5E, 0x3D}
_TEXT_LISTS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI"})
_TEXTS = frozenset({"LT", "ST", "UR", "UT"})
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}
_WRITTEN_VR_WINS = frozenset({*_BINARY, *_TEXTS, "AT", "OB", "OD", "OF", "OL", "OV", "OW", "SQ"})
_INT64 = 2**63
_OVER_BUDGET = f"the header is larger than {MAX_TABLE_BYTES} bytes; some of its elements were left out"
_ELEMENT_OVERHEAD_BYTES = 16
# As large as the number of frames; geometry reads it from the instance itself.
_LEFT_OUT = frozenset({"PerFrameFunctionalGroupsSequence"})


@dataclass(slots=True)
class _Budget:
    bytes_left: int = MAX_TABLE_BYTES


class ElementTable:
    """The elements of one data set by keyword, filled in one pass; what is odd is told in `warnings`."""

    __slots__ = ("_budget", "_depth", "_encodings", "values", "warnings")

    def __init__(self, *, encodings: list[str] | None = None, depth: int = 0, budget: _Budget | None = None) -> None:
        self.values: dict[str, JsonValue] = {}
        self.warnings: list[str] = []
        self._encodings = encodings or DEFAULT_ENCODINGS
        self._depth = depth
        self._budget = budget or _Budget()

    def add(self, element: Element) -> None:
        """Take in one element: private, bulk, empty and overlong ones are left out."""
        tag = int(element.tag)
        entry = DicomDictionary.get(tag)
        if self._depth == 0 and isinstance(element, DataElement):
            self._count_nesting(element)
        if entry is None or (tag >> 16) in (0x0000, 0x0002) or not entry[4] or entry[4] in _LEFT_OUT:
            return
        value = self._nested(element) if isinstance(element, DataElement) else self._raw(element, tag, entry)
        if value is not None:
            self.values[entry[4]] = value

    def _raw(self, raw: RawDataElement, tag: int, entry: tuple[str, str, str, str, str]) -> JsonValue | None:
        content = raw.value
        vr = _effective_vr(raw.VR, entry[0], signed=self.values.get(_PIXEL_REPRESENTATION) == 1)
        if raw.length > MAX_ELEMENT_BYTES or not content:
            if raw.length > MAX_ELEMENT_BYTES and vr in _TEXT_LISTS:
                self.warnings.append(f"{entry[4]} is longer than {MAX_ELEMENT_BYTES} bytes and was left out")
            return None
        self._budget.bytes_left -= len(content) + _ELEMENT_OVERHEAD_BYTES
        if self._budget.bytes_left < 0:
            self.warnings.append(_OVER_BUDGET)
            return None
        if tag == SPECIFIC_CHARACTER_SET:
            self._encodings = self._known_encodings(content)
        if vr in _TEXT_LISTS:
            return _text_list(_decoded(content, self._encodings), vr)
        if vr in _TEXTS:
            return _decoded(content, self._encodings).replace("\0", "").rstrip() or None
        if vr == "SQ":
            return self._raw_sequence(raw, content, entry[4])
        return _binary(content, vr, little_endian=raw.is_little_endian)

    def _known_encodings(self, content: bytes) -> list[str]:
        names = content.decode("latin-1").replace("\0", "").split("\\")
        given = convert_encodings([name.strip() for name in names])
        known = [encoding for encoding in given if encoding in _ENCODINGS]
        if len(known) < len(given):
            self.warnings.append("SpecificCharacterSet names what is no character set of PS3.3 C.12.1.1.2")
        return known or DEFAULT_ENCODINGS

    def _raw_sequence(self, raw: RawDataElement, content: bytes, keyword: str) -> JsonValue | None:
        if self._depth >= MAX_JSON_DEPTH:
            return None
        try:
            items = read_sequence(
                BytesIO(content), raw.is_implicit_VR, raw.is_little_endian, len(content), self._encodings
            )
        except (OSError, ValueError, KeyError, struct.error, NotImplementedError, EOFError):
            self.warnings.append(f"{keyword} is a sequence that cannot be read and was left out")
            return None
        return self._items(items)

    def _nested(self, element: DataElement) -> JsonValue | None:
        if element.VR != "SQ" or self._depth >= MAX_JSON_DEPTH:
            return None
        return self._items(cast("Iterable[Dataset]", element.value))

    def _items(self, items: Iterable[Dataset]) -> JsonValue | None:
        tables: list[JsonValue] = []
        for item in items:
            self._budget.bytes_left -= _ELEMENT_OVERHEAD_BYTES
            if self._budget.bytes_left < 0:
                self.warnings.append(_OVER_BUDGET)
                return None
            table = ElementTable(encodings=self._encodings, depth=self._depth + 1, budget=self._budget)
            for element in item.elements():
                table.add(element)
            tables.append(table.values)
            self.warnings.extend(table.warnings)
        return tables or None

    def _count_nesting(self, element: DataElement) -> None:
        # Only sequences of undefined length are parsed by pydicom at once, to any depth; others are bytes still.
        level = [element]
        for _ in range(self._depth, MAX_NESTING):
            items = [item for sequence in level if sequence.VR == "SQ" for item in sequence.value]
            level = [inner for item in items for inner in item.elements() if isinstance(inner, DataElement)]
            if not level:
                return
        raise InvalidInstance(f"expected sequences nested at most {MAX_NESTING} deep")


def dataset_of(values: Mapping[str, Any]) -> Dataset:
    """Return the data set of elements by keyword, in the values that a table has of them."""
    ds = Dataset()
    for keyword, value in values.items():
        items = isinstance(value, list) and all(isinstance(each, dict) for each in value)
        setattr(ds, keyword, [dataset_of(each) for each in value] if items else value)
    return ds


def _effective_vr(written: str | None, known: str, *, signed: bool) -> str:
    if " or " in known:
        known = "OW" if "OB" in known else ("SS" if signed else "US")
    if written is None or written == "UN":
        return known
    # Text written with another text VR (UI as LO, DA as DS) or a VR nobody knows: the dictionary knows better.
    return written if written in _WRITTEN_VR_WINS else known


def _decoded(content: bytes, encodings: list[str]) -> str:
    if content.isascii() and b"\x1b" not in content:
        return content.decode("ascii")
    if len(encodings) == 1 and encodings[0] in _LATIN:
        return content.decode("latin-1")
    return decode_bytes(content, encodings, _DELIMITERS)


def _text_list(text: str, vr: str) -> JsonValue | None:
    text = text.strip("\0 ")
    if "\0" in text and vr != "UI":  # a UID is told as it is, to be refused: no other is made of it
        text = text.replace("\0", "")
    if not text:
        return None
    if "\\" not in text:
        return _number(text, vr) if vr in ("DS", "IS") else text
    parts = [part.strip("\0 \t\r\n") for part in text.split("\\")]
    return [_number(part, vr) if vr in ("DS", "IS") else part for part in parts]


def _number(text: str, vr: str) -> int | float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    if vr == "IS" and number.is_integer():
        return int(number) if abs(number) < _INT64 else text
    return number


def _binary(content: bytes, vr: str, *, little_endian: bool) -> JsonValue | None:
    order = "<" if little_endian else ">"
    if vr == "AT":
        count = len(content) // 4
        words = struct.unpack(f"{order}{count * 2}H", content[: count * 4])
        return _one_or_list([f"{words[i]:04X}{words[i + 1]:04X}" for i in range(0, len(words), 2)])
    code = _BINARY.get(vr)
    if code is None:
        return None
    size = struct.calcsize(code)
    numbers = struct.unpack(f"{order}{len(content) // size}{code}", content[: len(content) // size * size])
    return _one_or_list([n for n in numbers if (math.isfinite(n) if isinstance(n, float) else abs(n) < _INT64)])


def _one_or_list(values: list[JsonValue]) -> JsonValue | None:
    if len(values) > 1:
        return values
    return values[0] if values else None
