"""Read the header of an instance that arrives: one pass, bounded memory, every fault a typed answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from radbus_dicom.elements import MAX_ELEMENT_BYTES, ElementTable, JsonValue
from radbus_dicom.encoding import DataSetStream, FileMeta, open_data_set
from radbus_dicom.errors import InvalidInstance, NotDicom, foreign_errors_as
from radbus_dicom.pixel_checks import PixelElement
from radbus_dicom.quiet import silence_pydicom
from radbus_dicom.validation import Facts, check_strictly, check_tolerantly, uid_or_empty

__all__ = ["Header", "InvalidInstance", "NotDicom", "Profile", "read_header"]

silence_pydicom()

_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ELEMENT_HEADER_BYTES = 8


class Profile(StrEnum):
    """How much is asked of an instance: STOW-RS and uploads are strict, InnerEye's de-identified ones are not."""

    STRICT = "strict"
    TOLERANT = "tolerant"


@dataclass(frozen=True, slots=True)
class Header:
    """What radbus keeps of an instance's header.

    `elements` holds every public element that is not bulk, not empty and not longer than 4 KiB, by keyword: numbers for
    DS and IS, strings for dates and names, lists for several values, lists of dicts for sequences (four deep).
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    instance_number: int | None
    rows: int | None
    columns: int | None
    number_of_frames: int | None
    expected_instances: int | None
    patient_id: str | None
    elements: dict[str, JsonValue]
    warnings: tuple[str, ...]


def read_header(file: BinaryIO, *, size_bytes: int, profile: Profile = Profile.STRICT) -> Header:
    """Read an instance's header from `file`, which stands at its start and is `size_bytes` long.

    Accepts PS3.10 with and without preamble, and all transfer syntaxes; pixel data is neither read nor inflated.

    Raises:
        NotDicom: The bytes are no DICOM.
        InvalidInstance: They are, but cannot be accepted under `profile`; `failure_reason` says how (PS3.18 I.2.2).
    """
    with foreign_errors_as(InvalidInstance):
        stream = open_data_set(file, size_bytes=size_bytes)
    table = ElementTable()
    table.warnings.extend(stream.warnings)
    check = check_strictly if profile is Profile.STRICT else check_tolerantly
    try:
        with foreign_errors_as(InvalidInstance):
            pixels = _fill(table, stream)
            identity, warnings = check(Facts(stream.meta, table.values, pixels, stream))
    except InvalidInstance as error:
        error.sop_class_uid = uid_or_empty(table.values.get("SOPClassUID") or stream.meta.sop_class_uid)
        error.sop_instance_uid = uid_or_empty(table.values.get("SOPInstanceUID") or stream.meta.sop_instance_uid)
        raise
    return _header(stream.meta, table, identity, warnings)


def _fill(table: ElementTable, stream: DataSetStream) -> PixelElement | None:
    pixels: list[PixelElement] = []

    def stop_at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag not in _PIXEL_TAGS:
            return False
        pixels.append(PixelElement(vr=vr, length=length, value_tell=stream.file.tell()))
        return True

    ended_at = 0
    for element in data_element_generator(
        cast("BinaryIO", stream.file),
        stream.is_implicit_vr,
        stream.is_little_endian,
        stop_when=stop_at_pixels,
        defer_size=MAX_ELEMENT_BYTES,
    ):
        table.add(element)
        if isinstance(element, RawDataElement) and element.length != _UNDEFINED_LENGTH:
            ended_at = element.value_tell + element.length
            _refuse_if_cut(element, ended_at, stream)
    if not pixels and stream.size_bytes is not None and stream.file.tell() < stream.size_bytes:
        raise InvalidInstance("expected the data set to reach to the end of the file; it ends before")
    if not pixels and stream.size_bytes is not None and 0 < stream.size_bytes - ended_at < _ELEMENT_HEADER_BYTES:
        stream.file.seek(ended_at)
        if any(stream.file.read(_ELEMENT_HEADER_BYTES)):  # zeros are padding
            raise InvalidInstance("expected a whole file; it ends within an element")
    return pixels[0] if pixels else None


def _refuse_if_cut(element: RawDataElement, ended_at: int, stream: DataSetStream) -> None:
    missing = isinstance(element.value, bytes) and len(element.value) < element.length
    if missing or (stream.size_bytes is not None and ended_at > stream.size_bytes):
        raise InvalidInstance("expected a whole file; the last element is longer than what is left of it")


def _header(meta: FileMeta, table: ElementTable, identity: dict[str, str], warnings: list[str]) -> Header:
    values = table.values
    return Header(
        study_instance_uid=identity["StudyInstanceUID"],
        series_instance_uid=identity["SeriesInstanceUID"],
        sop_instance_uid=identity["SOPInstanceUID"],
        sop_class_uid=identity["SOPClassUID"],
        transfer_syntax_uid=meta.transfer_syntax_uid,
        modality=_text(values.get("Modality")) or "",
        instance_number=_integer(values.get("InstanceNumber")),
        rows=_integer(values.get("Rows")),
        columns=_integer(values.get("Columns")),
        number_of_frames=_integer(values.get("NumberOfFrames")),
        expected_instances=_integer(values.get("NumberOfSeriesRelatedInstances")),
        patient_id=_text(values.get("PatientID")),
        elements=values,
        warnings=tuple(dict.fromkeys([*table.warnings, *warnings])),
    )


def _text(value: JsonValue | None) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: JsonValue | None) -> int | None:
    return value if isinstance(value, int) else None
