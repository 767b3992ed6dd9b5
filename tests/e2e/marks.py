"""A patient who is marked in every element that could name one, and the search for the marks in whatever form."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pydicom
from pydicom.dataset import Dataset

NAME: Final = "Zqxmark^Anna"
PATIENT_ID: Final = "ZQXMARK-ID"
BIRTH_DATE: Final = "19070613"
# By Specific Character Set: a name in its letters, with components where it has them.
NAMES: Final = {
    "ISO_IR 192": "Zqxmark^Anna=麒麟鷲^花子=ヰヴヱ^ハナコ",
    "ISO_IR 100": "Zqxm\u00e4rk^Anna",
    "\\ISO 2022 IR 87": "Zqxmark^Anna=麒麟鷲^花子=ヰヴヱ^ハナコ",
}
_WORDS: Final = ("Zqxm\u00e4rk", "麒麟鷲", "ヰヴヱ")
_ENCODINGS: Final = ("utf-8", "latin-1", "iso2022_jp", "shift_jis", "euc_jp", "utf-16-le")
_SHIFTS: Final = (b"\x1b$B", b"\x1b(B")  # ISO 2022: what stands around the letters


def _spellings(word: str) -> Iterator[bytes]:
    for encoding in _ENCODINGS:
        try:
            spelled = word.encode(encoding)
        except UnicodeEncodeError:
            continue
        for shift in _SHIFTS:
            spelled = spelled.replace(shift, b"")
        yield spelled
        yield repr(spelled)[2:-1].encode()  # as Python prints bytes
    yield json.dumps(word)[1:-1].encode()
    yield quote(word).encode()


_MARKS: Final = re.compile(
    b"|".join(
        [
            rb"(?i:zqxmark)",
            *(re.escape(each) for word in _WORDS for each in sorted(set(_spellings(word)))),
            rb"(?<![\d.])1907-?06-?13(?![\d.])",  # in no UID, which may have any digits
        ]
    )
)


def marked(instance: bytes, *, charset: str = "ISO_IR 192") -> bytes:
    """Mark all of an instance that could name a patient, in a character set; its UIDs stay as they are."""
    ds = pydicom.dcmread(io.BytesIO(instance))
    ds.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
    name = NAMES[charset]
    ds.PatientName = ds.OtherPatientNames = ds.PatientMotherBirthName = name
    ds.ReferringPhysicianName = ds.OperatorsName = ds.RequestingPhysician = name
    ds.PatientID = ds.OtherPatientIDs = PATIENT_ID
    ds.IssuerOfPatientID = ds.AccessionNumber = ds.StudyID = "ZQXMARK-ACC"
    ds.PatientBirthDate = BIRTH_DATE
    ds.PatientAddress = ds.PatientComments = ds.ImageComments = ds.AdditionalPatientHistory = "Zqxmark road 1"
    ds.PatientTelephoneNumbers = ds.MilitaryRank = ds.EthnicGroup = "ZQXMARK"
    ds.InstitutionName = ds.StationName = ds.ProtocolName = ds.DeviceSerialNumber = "ZQXMARK"
    step = Dataset()
    step.ScheduledProcedureStepDescription, step.RequestedProcedureID = "for ZQXMARK", "ZQXMARK"
    ds.RequestAttributesSequence = [step]
    block = ds.private_block(0x0099, "ZQXMARK PRIVATE", create=True)
    block.add_new(0x01, "LO", "Zqxmark")
    block.add_new(0x02, "UN", b"Zqxmark")
    written = io.BytesIO()
    ds.save_as(written)
    return written.getvalue()


def malformed(instance: bytes) -> dict[str, bytes]:
    """Make instances of which each is wrong in a way whose error could quote the patient."""
    whole = marked(instance)
    warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")  # it says so itself, that they are wrong

    def with_element(keyword: str, vr: str, value: object) -> bytes:
        ds = pydicom.dcmread(io.BytesIO(whole))
        ds[keyword] = pydicom.DataElement(keyword, vr, value, validation_mode=pydicom.config.IGNORE)
        written = io.BytesIO()
        ds.save_as(written)
        return written.getvalue()

    return {
        "text": b"Zqxmark^Anna " * 100,
        "cut": whole[: len(whole) // 2],
        "cut in the header": whole[:900],
        "a name for a birth date": with_element("PatientBirthDate", "LO", "Zqxmark"),
        "a name for a UID": with_element("SOPInstanceUID", "LO", "Zqxmark^Anna"),
        "a name for the study's UID": with_element("StudyInstanceUID", "LO", "../Zqxmark"),
        "a name for a number": with_element("SliceThickness", "LO", "Zqxmark"),
        "a name for the rows": with_element("Rows", "LO", "Zqxmark"),
        "a name for the modality": with_element("Modality", "LO", "ZQXMARK"),
        "a name for the character set": with_element("SpecificCharacterSet", "LO", "ZQXMARK"),
    }


def marks_in(texts: Iterable[str | bytes]) -> list[str]:
    """Return each mark with what surrounds it."""
    found = []
    for text in texts:
        raw = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
        found += [
            raw[max(0, hit.start() - 80) : hit.end() + 40].decode(errors="backslashreplace")
            for hit in _MARKS.finditer(raw)
        ]
    return found


def marks_in_files(folder: Path, *, but: tuple[Path, ...] = ()) -> list[str]:
    """Look into every file below a folder, at its name as well; some folders may be left out."""
    files = [
        path for path in folder.rglob("*") if path.is_file() and not any(path.is_relative_to(each) for each in but)
    ]
    return [f"{path}: {mark}" for path in files for mark in marks_in([str(path), _content(path)])]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a server has taken it away meanwhile
        return b""
