"""Reading the header of what arrives: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
import zlib
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from radbus_dicom.reading import Header, InvalidInstance, NotDicom, Profile, read_header

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # pytest resets the library's own filter


def read(content: bytes, profile: Profile = Profile.STRICT) -> Header:
    return read_header(BytesIO(content), size_bytes=len(content), profile=profile)


@pytest.mark.parametrize(
    "transfer_syntax_uid",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_the_header_is_the_same_in_every_encoding(instance, as_file, transfer_syntax_uid):
    ds = instance(7, NumberOfSeriesRelatedInstances=12)
    ds["PixelData"].VR = "OW"

    header = read(as_file(ds, transfer_syntax_uid))

    assert (header.sop_instance_uid, header.modality, header.instance_number) == ("1.2.3.4.1.7", "CT", 7)
    assert (header.rows, header.columns, header.expected_instances) == (12, 10, 12)
    assert (header.transfer_syntax_uid, header.patient_id) == (transfer_syntax_uid, "SECRET-ID")
    assert header.elements["PixelSpacing"] == [0.5, 0.75]
    assert header.warnings == ()


def test_elements_are_plain_json_without_bulk_private_and_empty_ones(instance, as_file):
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-1", "Café"
    ds = instance(ProcedureCodeSequence=Sequence([item]), PatientName="Yamada^Tarou=山田^太郎", OtherPatientIDs="")
    ds.RedPaletteColorLookupTableData = b"\0" * 8
    ds.add_new(0x00091001, "LO", "private")

    elements = json.loads(json.dumps(read(as_file(ds)).elements, allow_nan=False))

    assert elements["ProcedureCodeSequence"] == [{"CodeValue": "T-1", "CodeMeaning": "Café"}]
    assert elements["PatientName"] == "Yamada^Tarou=山田^太郎"
    assert elements["Rows"] == 12
    assert not {"PixelData", "RedPaletteColorLookupTableData", "OtherPatientIDs", "TransferSyntaxUID"} & set(elements)


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 144", "Иванов"),
        ("ISO_IR 126", "Διονυσιος"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_names_are_read_in_the_character_set_of_the_data_set(instance, as_file, character_set, name):
    ds = instance(SpecificCharacterSet=character_set, PatientName=name)

    elements = read(as_file(ds)).elements

    assert elements["PatientName"] == name


def test_a_file_without_preamble_is_read_with_a_warning(instance, as_file):
    content = as_file(instance())[132:]

    header = read(content)

    assert header.sop_instance_uid == "1.2.3.4.1.1"
    assert "preamble" in header.warnings[0]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n" * 100, b"\0" * 500, b"PK\x03\x04" * 50])
def test_other_files_are_not_dicom(content):
    with pytest.raises(NotDicom, match="expected a DICOM file") as refusal:
        read(content)

    assert refusal.value.failure_reason == 0xC000


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"StudyInstanceUID": None}, 0xC000, "expected one StudyInstanceUID"),
        ({"SeriesInstanceUID": ""}, 0xC000, "expected one SeriesInstanceUID"),
        ({"SeriesInstanceUID": "../../etc/passwd"}, 0xC000, "digits and dots"),
        ({"SeriesInstanceUID": "1." * 33 + "1"}, 0xC000, "64 characters"),
        ({"SeriesInstanceUID": "....."}, 0xC000, "digits and dots"),
        ({"SOPClassUID": "1.2.840.10008.1.1"}, 0x0122, "SOP class of a stored object"),
        ({"Rows": 0}, 0xA900, "expected Rows, Columns"),
        ({"Columns": 11}, 0xA900, "bytes of pixel data"),
    ],
)
def test_a_strict_reader_says_what_is_wrong(instance, as_file, changes, reason, words):
    content = as_file(instance(**changes))

    with pytest.raises(InvalidInstance, match=words) as refusal:
        read(content)

    assert refusal.value.failure_reason == reason


def test_file_meta_that_names_another_sop_class_does_not_match(instance, as_file):
    content = as_file(instance()).replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.7\0", 1)
    assert SecondaryCaptureImageStorage.encode() in content

    with pytest.raises(InvalidInstance, match="they differ") as refusal:
        read(content)

    assert refusal.value.failure_reason == 0xA900


def test_an_unknown_transfer_syntax_is_refused_strictly(instance, as_file):
    content = as_file(instance()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")

    with pytest.raises(InvalidInstance) as refusal:
        read(content)

    assert refusal.value.failure_reason == 0xC122


def test_leading_zeros_and_an_absent_modality_are_warnings(instance, as_file):
    header = read(as_file(instance(StudyInstanceUID="1.2.03.4", Modality=None)))

    assert header.study_instance_uid == "1.2.03.4"
    assert header.modality == ""
    assert {"a component of StudyInstanceUID begins with 0 (PS3.5 9.1)", "Modality is absent"} <= set(header.warnings)


def test_the_tolerant_profile_takes_uids_of_64_digits_written_as_lo(instance, as_file):
    hashed = "1031611115842042201571108310370131941580715010924373111131841072"
    ds = instance(PatientID=None, InstanceNumber=None)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        setattr(ds, keyword, hashed)
        ds[keyword].VR = "LO"

    header = read(as_file(ds), Profile.TOLERANT)

    assert header.study_instance_uid == hashed
    assert (header.patient_id, header.instance_number) == (None, None)


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.999])
def test_a_cut_file_is_refused(instance, as_file, profile, kept):
    content = as_file(instance())

    with pytest.raises(InvalidInstance):
        read(content[: int(len(content) * kept)], profile)


def test_no_damage_gives_any_other_error_and_no_text_has_patient_data(instance, as_file):
    content = as_file(instance(ProcedureCodeSequence=Sequence([Dataset()])))
    chance = random.Random(1)

    for _ in range(1500):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(128, len(damaged))] = chance.randrange(256)
        assert "secret" not in refusal_of(bytes(damaged), chance.choice(list(Profile))).lower()


def refusal_of(content: bytes, profile: Profile) -> str:
    try:
        read(content, profile)
    except InvalidInstance as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("depth", [50, 2000])
def test_sequences_nested_too_deep_are_refused(instance, as_file, depth):
    opened = (
        struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    ) * depth
    closed = (b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0") * depth
    content = as_file(instance(PixelData=None))

    with pytest.raises(InvalidInstance, match="sequences"):
        read(content + opened + closed)


def test_a_deflate_bomb_is_refused_within_little_memory(instance, as_file):
    plain = as_file(instance(PixelData=None), ExplicitVRLittleEndian)
    meta = as_file(instance(PixelData=None), DeflatedExplicitVRLittleEndian)
    meta_end = 132 + 12 + struct.unpack("<L", meta[140:144])[0]
    plain_start = 132 + 12 + struct.unpack("<L", plain[140:144])[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(plain[plain_start:] + struct.pack("<HH2sHL", 0x0029, 0x1001, b"OB", 0, 200_000_000))
    for _ in range(200):
        bomb += packer.compress(bytes(1_000_000))
    bomb += packer.flush()

    tracemalloc.start()
    with pytest.raises(InvalidInstance, match="when inflated"):
        read(meta[:meta_end] + bomb)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(bomb) < 300_000
    assert peak_bytes < 8_000_000


def test_a_header_of_endless_tiny_elements_is_refused(instance, as_file):
    tiny = struct.pack("<HH2sH", 0x0029, 0x1001, b"LO", 0) * 600_000

    with pytest.raises(InvalidInstance, match="fewer than"):
        read(as_file(instance(PixelData=None)) + tiny)


def test_an_overlong_element_is_left_out_with_a_warning(instance, as_file):
    header = read(as_file(instance(PatientID="9" * 8192)))

    assert header.patient_id is None
    assert "PatientID is longer than 4096 bytes and was left out" in header.warnings


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_uid_with_a_zero_byte_in_it_is_refused_and_not_made_another(instance, as_file, keyword):
    uid = instance()[keyword].value
    content = as_file(instance())
    written = uid.encode() + b"\0" * (len(uid) % 2)

    with pytest.raises(InvalidInstance, match=keyword):
        read(content.replace(written, b"1\0" + written[2:]))


def test_zero_bytes_that_only_pad_the_values_of_a_list_are_left_out(instance, as_file):
    ds = instance()
    ds.add_new("RelatedGeneralSOPClassUID", "UI", "1.2\0\\1.3\0")

    header = read(as_file(ds))

    assert header.elements["RelatedGeneralSOPClassUID"] == ["1.2", "1.3"]
