"""STOW-RS as DICOMweb clients speak it (CONTRACTS, section 5; PS3.18 10.5)."""

from __future__ import annotations

import io
import json
from typing import Any, Final
from xml.etree import ElementTree as ET

import pydicom
import pytest
from pydicom.uid import UID, generate_uid

from tests.contract.wire import BOUNDARY, RELATED, Answer, Part, ask, head_of_answer, multipart

pytestmark = pytest.mark.stack

JSON: Final = "application/dicom+json"
XML: Final = "application/dicom+xml"
FAILED: Final = "00081198"
REFERENCED: Final = "00081199"
NATIVE: Final = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


def store(hospital, parts: list[Part], *, path: str = "/studies", body: bytes | None = None, **headers: str) -> Answer:
    given = {**hospital.headers, **RELATED, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return ask(hospital.stack, "POST", path, headers=given, body=body if body is not None else multipart(parts))


def payload(answer: Answer) -> dict[str, Any]:
    assert answer.content_type == JSON
    return json.loads(answer.body)


def reasons(answer: Answer) -> list[int]:
    return [item["00081197"]["Value"][0] for item in payload(answer)[FAILED]["Value"]]


def changed(instance: bytes, *, meta_too: bool = True, **values: Any) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(instance))
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    if meta_too:
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    written = io.BytesIO()
    ds.save_as(written)
    return written.getvalue()


def test_a_charset_behind_the_media_type_would_make_the_common_client_return_nothing(north, new_series):
    series = new_series(2)

    answer = store(north, [Part(each) for each in series.instances])

    assert answer.status == 200
    assert answer.content_type == JSON
    assert REFERENCED in payload(answer)
    assert FAILED not in payload(answer)


def test_each_stored_instance_is_referenced_with_where_it_is(north, new_series):
    series = new_series(2)
    stored = [pydicom.dcmread(io.BytesIO(each)) for each in series.instances]

    answer = payload(store(north, [Part(each) for each in series.instances]))

    assert set(answer) == {"00081190", REFERENCED}
    assert answer["00081190"]["vr"] == "UR"
    assert answer["00081190"]["Value"][0].endswith(f"/studies/{series.study}")
    assert answer[REFERENCED]["vr"] == "SQ"
    for item, ds in zip(answer[REFERENCED]["Value"], stored, strict=True):
        assert item["00081150"] == {"vr": "UI", "Value": [ds.SOPClassUID]}
        assert item["00081155"] == {"vr": "UI", "Value": [ds.SOPInstanceUID]}
        assert item["00081190"]["Value"][0].endswith(
            f"/studies/{series.study}/series/{series.uid}/instances/{ds.SOPInstanceUID}"
        )


def test_who_asks_for_xml_gets_the_same_as_xml(north, new_series):
    series = new_series()
    ds = pydicom.dcmread(io.BytesIO(series.instances[0]))

    answer = store(north, [Part(series.instances[0]), Part(b"not DICOM")], Accept=XML)

    root = ET.fromstring(answer.body)
    assert answer.status == 202
    assert answer.content_type == XML
    assert root.tag == f"{NATIVE}NativeDicomModel"
    sequences = {each.get("tag"): each for each in root.findall(f"{NATIVE}DicomAttribute")}
    assert {FAILED, REFERENCED} <= set(sequences)
    assert sequences[REFERENCED].get("keyword") == "ReferencedSOPSequence"
    texts = [value.text for value in sequences[REFERENCED].iter(f"{NATIVE}Value")]
    assert ds.SOPInstanceUID in texts
    assert [value.text for value in sequences[FAILED].iter(f"{NATIVE}Value")] == [str(0xC000)]


def test_some_of_several_stored_is_202_and_says_of_each_what_became_of_it(north, new_series):
    series = new_series()

    answer = store(north, [Part(series.instances[0]), Part(b"not DICOM")])

    assert answer.status == 202
    assert len(payload(answer)[REFERENCED]["Value"]) == 1
    assert reasons(answer) == [0xC000]


def test_none_of_several_stored_is_409_with_the_reasons(north):
    answer = store(north, [Part(b"not DICOM"), Part(b"")])

    assert answer.status == 409
    assert reasons(answer) == [0xC000, 0xC000]
    assert REFERENCED not in payload(answer)
    assert "00081190" not in payload(answer)


def test_the_same_bytes_sent_twice_are_a_success(north, new_series):
    series = new_series()

    first = store(north, [Part(series.instances[0])])
    again = store(north, [Part(series.instances[0])])

    assert (first.status, again.status) == (200, 200)
    assert payload(again) == payload(first)


def test_other_content_under_a_known_uid_is_refused_as_a_duplicate(north, new_series):
    series = new_series()
    other = changed(series.instances[0], WindowCenter="40")
    store(north, [Part(series.instances[0])])

    answer = store(north, [Part(other)])

    assert answer.status == 409
    assert reasons(answer) == [0x0111]


def test_an_instance_of_another_study_than_the_addresss_is_refused_and_the_others_are_kept(north, new_series):
    series, other = new_series(), new_series()

    answer = store(north, [Part(series.instances[0]), Part(other.instances[0])], path=f"/studies/{series.study}")
    none = store(north, [Part(other.instances[0])], path=f"/studies/{series.study}")

    assert answer.status == 202
    assert reasons(answer) == [0xA900]
    assert payload(answer)[FAILED]["Value"][0]["00081155"]["Value"] == [
        pydicom.dcmread(io.BytesIO(other.instances[0])).SOPInstanceUID
    ]
    assert none.status == 409


def test_each_fault_of_an_instance_has_the_reason_that_clients_know(north, new_series):
    (instance,) = new_series().instances
    faults = {
        0xC000: b"not DICOM at all",
        0xA900: changed(instance, meta_too=False, SOPInstanceUID=generate_uid()),
        0x0122: changed(instance, SOPClassUID=UID("1.2.840.10008.1.1"), SOPInstanceUID=generate_uid()),
        0xC122: instance.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0", 1),
    }

    answer = store(north, [Part(each) for each in faults.values()])

    assert answer.status == 409
    assert reasons(answer) == list(faults)


def test_a_cut_instance_is_not_stored_as_if_it_were_whole(north, new_series):
    (instance,) = new_series().instances

    answer = store(north, [Part(instance[: len(instance) - 100])])

    assert answer.status == 409
    assert reasons(answer)[0] in (0xC000, 0xA900)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_is_stored_with_a_warning_is_202_with_the_warnings_reason(north, new_series):
    (instance,) = new_series().instances
    odd = changed(instance, SOPInstanceUID=UID("1.2.826.0.01.77"), StudyInstanceUID=generate_uid())

    answer = store(north, [Part(odd)])

    (item,) = payload(answer)[REFERENCED]["Value"]
    assert answer.status == 202
    assert item["00081196"]["vr"] == "US"
    assert item["00081196"]["Value"][0] in (0xB000, 0xB006, 0xB007)
    assert FAILED not in payload(answer)


@pytest.mark.parametrize(
    "content_type",
    [
        f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"',
        f"multipart/related; type=application/dicom; boundary={BOUNDARY}",
        f'Multipart/Related; boundary={BOUNDARY}; TYPE="application/dicom"',
        f'multipart/related;type="application/dicom";boundary="{BOUNDARY}"',
        f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"; transfer-syntax=1.2.840.10008.1.2.1',
    ],
)
def test_quoted_and_unquoted_parameters_are_equal(north, new_series, content_type):
    series = new_series()

    answer = store(north, [Part(series.instances[0])], Content_Type=content_type)

    assert answer.status == 200, answer.body


def test_the_file_meta_wins_over_the_media_types_transfer_syntax(north, new_series):
    series = new_series()
    part = Part(series.instances[0], ("Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90",))

    stored = store(north, [part])
    again = ask(north.stack, "POST", "/upload", headers={**north.headers, **RELATED}, body=multipart([part]))

    (entry,) = again.json()["messages"].values()
    assert stored.status == 200
    assert entry["metadata"]["TransferSyntaxUID"] == "1.2.840.10008.1.2.1"


def test_a_body_in_chunks_cut_anywhere_is_the_same_body(north, new_series):
    series = new_series(2)
    body = multipart([Part(each) for each in series.instances])
    pieces = [body[start : start + 997] for start in range(0, len(body), 997)]

    answer = ask(north.stack, "POST", "/studies", headers={**north.headers, **RELATED}, body=pieces)

    assert answer.status == 200
    assert len(payload(answer)[REFERENCED]["Value"]) == 2


@pytest.mark.parametrize("preamble", [b"\r\n", b"This is a preamble.\r\n"])
def test_a_line_before_the_first_boundary_is_no_fault(north, new_series, preamble):
    series = new_series()

    answer = store(north, [], body=multipart([Part(series.instances[0])], preamble=preamble))

    assert answer.status == 200, answer.body


def test_a_body_that_ends_with_the_boundary_and_no_line_break_is_whole(north, new_series):
    series = new_series()

    answer = store(north, [], body=multipart([Part(series.instances[0])]).removesuffix(b"\r\n"))

    assert answer.status == 200


@pytest.mark.parametrize(
    "body", [b"", b"no boundary", f"--{BOUNDARY}--\r\n".encode()], ids=["empty", "none", "no part"]
)
def test_a_body_that_is_not_of_its_form_is_400(north, body):
    answer = store(north, [], body=body)

    assert answer.status == 400


def test_a_body_that_is_cut_is_400_and_no_success(north, new_series):
    (instance,) = new_series().instances

    answer = store(north, [], body=multipart([Part(instance)])[:-400])

    assert answer.status == 400


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/json", f'multipart/related; type="image/jpeg"; boundary="{BOUNDARY}"'],
)
def test_a_media_type_that_holds_no_instances_is_415(north, new_series, content_type):
    answer = store(north, [Part(new_series().instances[0])], Content_Type=content_type, Accept=JSON)

    assert answer.status == 415


def test_a_body_above_the_limit_is_413(north):
    head = (
        f"POST /studies HTTP/1.1\r\nHost: radbus\r\nAuthorization: Bearer {north.token}\r\n"
        f"Content-Length: {9 * 1024**3}\r\nContent-Type: {RELATED['Content-Type']}\r\nAccept: {JSON}\r\n\r\n"
    )

    assert head_of_answer(north.stack, "/studies", head.encode()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("study", ["1.2.x", "..%2F..", "1" * 65])
def test_an_address_with_no_study_uid_stores_nothing(north, new_series, study):
    answer = store(north, [Part(new_series().instances[0])], path=f"/studies/{study}")

    assert answer.status in (400, 404, 409)


def test_without_a_token_nothing_is_stored(north, new_series):
    body = multipart([Part(new_series().instances[0])])

    answer = ask(north.stack, "POST", "/studies", headers={**RELATED, "Accept": JSON}, body=body)

    assert answer.status == 401
