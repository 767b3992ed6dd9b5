"""Valid instances in several encodings, and ways to damage them."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Final

from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

_LENGTHS: Final = (0, 1, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_MARKS: Final = (
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",  # an item of undefined length
    b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",  # its end
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",  # a sequence's end
    b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff",
    b"\x08\x00\x05\x00CS\x0e\x00unicode_escape",
    b"\x08\x00\x05\x00CS\x06\x00utf-7 ",
    b"\xe0\x7f\x10\x00OW\x00\x00\xff\xff\xff\xff",
    b"\x29\x00\x10\x10UN\x00\x00\xff\xff\xff\xff",
    b"\x28\x00\x10\x00US\x02\x00\xff\xff",
)
_VRS: Final = [
    vr.encode()
    for vr in [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "OB",
        "OD",
        "OF",
        "OL",
        "OV",
        "OW",
        "PN",
        "SH",
        "SQ",
        "UI",
        "UL",
        "UN",
        "UT",
        "UV",
    ]
]


def instance(transfer_syntax_uid: str) -> bytes:
    """Return a small CT slice with sequences, private elements and a text beyond ASCII."""
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-1", "Café"
    nested = Dataset()
    nested.ReferencedSOPClassUID, nested.PurposeOfReferenceCodeSequence = CTImageStorage, Sequence([item])
    ds = Dataset()
    ds.SpecificCharacterSet, ds.ImageType = ["", "ISO 2022 IR 87"], ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = CTImageStorage, "1.2.3.4.1", "CT"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.4.2", "1.2.3.4.3"
    ds.PatientName, ds.PatientID = "Secret^Patient=山田^太郎", "SECRET-ID"
    ds.ReferencedImageSequence = Sequence([nested, Dataset()])
    ds.ReferencedImageSequence.is_undefined_length = True
    ds.ProcedureCodeSequence = Sequence([item])
    ds.PixelSpacing, ds.InstanceNumber, ds.NumberOfFrames = [0.5, 0.75], 1, 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 1], [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 4, 4
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.add_new(0x00291010, "OB", b"private!")
    ds.PixelData = bytes(range(32))
    ds["PixelData"].VR = "OW"
    if transfer_syntax_uid == RLELossless:
        header = struct.pack("<16L", 2, 64, 82, *[0] * 13)
        segment = b"\x0f" + bytes(16) + b"\x80"
        ds.PixelData = encapsulate([header + segment + segment])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax_uid
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, ds.SOPInstanceUID
    stream = BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


VALID: Final = tuple(
    instance(uid)
    for uid in (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
    )
)


@st.composite
def damaged(  # noqa: C901 - one case a kind of damage
    draw: st.DrawFn, valid: tuple[bytes, ...] = VALID
) -> bytes:
    """Take a valid instance and change bytes, lengths, VRs and whole elements of it, cut it, put something in."""
    content = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(128, max(128, len(content) - 1)))
        match draw(st.sampled_from(["flip", "length", "vr", "cut", "insert", "mark", "repeat", "remove", "text"])):
            case "flip":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "length":
                content[at : at + 4] = struct.pack("<L", draw(st.sampled_from(_LENGTHS)))
            case "vr":
                content[at : at + 2] = draw(st.sampled_from(_VRS))
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = draw(st.binary(max_size=40))
            case "mark":
                content[at:at] = draw(st.sampled_from(_MARKS)) * draw(st.sampled_from([1, 1, 1, 3, 40, 300]))
            case "repeat":
                content[at:at] = content[at : at + draw(st.integers(1, 200))] * draw(st.sampled_from([1, 2, 50]))
            case "remove":
                del content[at : at + draw(st.integers(1, 60))]
            case "text":
                content[at : at + 2] = draw(st.sampled_from([b"\x1b$", b"\\\\", b"\xed\xa0", b"\0\0", b"..", b"9e"]))
    return bytes(content)
