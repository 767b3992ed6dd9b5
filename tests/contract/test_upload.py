"""`POST /upload` and `POST /studies` as clients of the results API send to them (CONTRACTS, section 1)."""

from __future__ import annotations

import io
import json
import zipfile

import pydicom
import pytest

from tests.contract.wire import BOUNDARY, FORM, RELATED, Part, ask, form_part, head_of_answer, multipart

pytestmark = pytest.mark.stack

REGISTERED = "DICOM registered successfully."
ACCESS_DENIED = {"success": False, "message": "Access denied!"}
NO_CREDENTIALS = {"message": "Invalid token header. No credentials provided.", "authenticated": False}
NONE_UPLOADED = "No DICOM files were uploaded!"
METADATA = {
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "SOPClassUID",
    "TransferSyntaxUID",
    "Rows",
    "Columns",
}
BOTH_ADDRESSES = pytest.mark.parametrize("path", ["/upload", "/studies"])
GIB = 1024**3


def zipped(entries: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return packed.getvalue()


@BOTH_ADDRESSES
def test_an_answer_with_other_keys_than_clients_read_breaks_them(north, new_series, path):
    series = new_series()

    answer = ask(
        north.stack,
        "POST",
        path,
        headers={**north.headers, **FORM},
        body=multipart([form_part("file0", series.instances[0])]),
    )

    ds = pydicom.dcmread(io.BytesIO(series.instances[0]))
    body = answer.json()
    assert answer.status == 200
    metadata = body["messages"]["file0"].pop("metadata")
    assert body == {
        "message": "Success",
        "status": "success",
        "messages": {"file0": {"message": REGISTERED, "created": True, "license_expired": False}},
        "series_instance_uids": [series.uid],
        "detailed_info": [{"SeriesInstanceUID": series.uid, "NumberOfSeriesRelatedInstances": 1}],
    }
    assert metadata["SOPInstanceUID"] == ds.SOPInstanceUID
    assert metadata["SeriesInstanceUID"] == series.uid
    assert metadata["StudyInstanceUID"] == series.study
    assert metadata["Modality"] == "CT"
    assert metadata["SOPClassUID"] == ds.SOPClassUID
    assert metadata["TransferSyntaxUID"] == ds.file_meta.TransferSyntaxUID
    assert (metadata["Rows"], metadata["Columns"]) == (16, 16)


def test_metadata_that_told_who_the_patient_is_would_tell_every_log_of_every_client(north, new_series):
    series = new_series(patient_id="MRN-12345", patient_name="Doe^Jane", accession_number="ACC-778")

    answer = ask(
        north.stack,
        "POST",
        "/upload",
        headers={**north.headers, **FORM},
        body=multipart([form_part("file0", series.instances[0])]),
    )

    assert set(answer.json()["messages"]["file0"]["metadata"]) >= METADATA
    for identifying in (b"MRN-12345", b"Doe", b"ACC-778", b"19600101"):
        assert identifying not in answer.body


@BOTH_ADDRESSES
@pytest.mark.parametrize(
    "name", ["file0", "file_0", "ct/series 1/1.dcm", "C:\\\\scans\\\\1.dcm", "\N{GREEK SMALL LETTER MU}"]
)
def test_a_field_name_that_is_not_expected_is_the_key_of_its_answer(north, new_series, path, name):
    series = new_series()

    answer = ask(
        north.stack,
        "POST",
        path,
        headers={**north.headers, **FORM},
        body=multipart([form_part(name, series.instances[0])]),
    )

    assert answer.status == 200, answer.body
    assert answer.json()["messages"][name.replace("\\\\", "\\")]["created"] is True


@BOTH_ADDRESSES
@pytest.mark.parametrize("content_type", ["application/dicom", "application/octet-stream", None])
def test_a_parts_type_or_its_absence_decides_nothing(north, new_series, path, content_type):
    series = new_series()
    part = form_part("file0", series.instances[0], content_type=content_type)

    answer = ask(north.stack, "POST", path, headers={**north.headers, **FORM}, body=multipart([part]))

    assert answer.status == 200, answer.body
    assert answer.json()["messages"]["file0"]["created"] is True


@BOTH_ADDRESSES
def test_a_zip_among_the_parts_is_answered_by_the_names_of_its_entries(north, new_series, path):
    series = new_series(2)
    one, two = series.instances
    parts = [form_part("file0", one), form_part("rest", zipped({"ct/2.dcm": two, "ct/readme.txt": b"not DICOM"}))]

    answer = ask(north.stack, "POST", path, headers={**north.headers, **FORM}, body=multipart(parts))

    messages = answer.json()["messages"]
    assert answer.status == 200
    assert messages["file0"]["created"] is True
    assert messages["ct/2.dcm"]["created"] is True
    assert messages["ct/readme.txt"]["created"] is False
    assert answer.json()["detailed_info"] == [{"SeriesInstanceUID": series.uid, "NumberOfSeriesRelatedInstances": 2}]


@BOTH_ADDRESSES
def test_clients_that_send_related_parts_without_quotes_and_with_form_names_are_served(north, new_series, path):
    series = new_series(2)
    headers = {"Content-Type": f"multipart/related; type=application/dicom; boundary={BOUNDARY}", "Source": "ward-3"}
    parts = [form_part(f"file{number}", each) for number, each in enumerate(series.instances)]

    answer = ask(north.stack, "POST", path, headers={**north.headers, **headers}, body=multipart(parts))

    assert answer.status == 200, answer.body
    assert [answer.json()["messages"][f"file{n}"]["created"] for n in range(2)] == [True, True]


def test_stow_rs_to_upload_is_answered_in_uploads_words(north, new_series):
    series = new_series(2)
    parts = [Part(each) for each in series.instances]
    accept = {"Accept": "application/dicom+json"}

    answer = ask(north.stack, "POST", "/upload", headers={**north.headers, **RELATED, **accept}, body=multipart(parts))

    assert answer.status == 200, answer.body
    assert answer.json()["series_instance_uids"] == [series.uid]
    assert len(answer.json()["messages"]) == 2


@BOTH_ADDRESSES
def test_a_form_without_a_boundary_parameter_is_read_by_its_first_line_or_refused_clearly(north, new_series, path):
    series = new_series()
    headers = {**north.headers, "Content-Type": "multipart/form-data"}

    answer = ask(north.stack, "POST", path, headers=headers, body=multipart([form_part("file0", series.instances[0])]))
    nonsense = ask(north.stack, "POST", path, headers=headers, body=b"no boundary anywhere")

    assert answer.status == 200, answer.body
    assert answer.json()["messages"]["file0"]["created"] is True
    assert nonsense.status == 400
    assert nonsense.json()["message"]


def test_a_bare_instance_is_a_body_too(north, new_series):
    series = new_series()
    headers = {**north.headers, "Content-Type": "application/dicom"}

    answer = ask(north.stack, "POST", "/upload", headers=headers, body=series.instances[0])

    assert answer.status == 200, answer.body
    assert answer.json()["series_instance_uids"] == [series.uid]
    assert len(answer.json()["messages"]) == 1


@BOTH_ADDRESSES
def test_the_same_bytes_sent_again_are_a_success_that_created_nothing(north, new_series, path):
    series = new_series()
    body = multipart([form_part("file0", series.instances[0])])

    ask(north.stack, "POST", path, headers={**north.headers, **FORM}, body=body)
    again = ask(north.stack, "POST", path, headers={**north.headers, **FORM}, body=body)

    entry = again.json()["messages"]["file0"]
    assert again.status == 200
    assert entry["created"] is False
    assert again.json()["detailed_info"] == [{"SeriesInstanceUID": series.uid, "NumberOfSeriesRelatedInstances": 1}]


@BOTH_ADDRESSES
def test_one_part_that_is_no_dicom_says_why_and_costs_none_of_the_others(north, new_series, path):
    series = new_series()
    parts = [form_part("notes", b"a text"), form_part("file0", series.instances[0]), form_part("empty", b"")]

    answer = ask(north.stack, "POST", path, headers={**north.headers, **FORM}, body=multipart(parts))

    messages = answer.json()["messages"]
    assert answer.status == 200
    assert messages["file0"]["created"] is True
    for name in ("notes", "empty"):
        assert messages[name]["created"] is False
        assert messages[name]["license_expired"] is False
        assert messages[name]["message"] not in ("", REGISTERED)


@BOTH_ADDRESSES
@pytest.mark.parametrize("parts", [[form_part("notes", b"a text")], []], ids=["a text", "no part"])
def test_a_request_with_no_valid_instance_is_a_400_with_the_message_that_clients_compare(north, path, parts):
    answer = ask(north.stack, "POST", path, headers={**north.headers, **FORM}, body=multipart(parts))

    assert answer.status == 400
    assert answer.json()["message"] == NONE_UPLOADED


@BOTH_ADDRESSES
@pytest.mark.parametrize("kind", ["Token", "Bearer", "token", "bearer"])
def test_both_ways_to_send_a_token_are_in_the_wild(north, new_series, path, kind):
    series = new_series()
    headers = {"Authorization": f"{kind} {north.token}", "User-Agent": "", **FORM}

    answer = ask(north.stack, "POST", path, headers=headers, body=multipart([form_part("file0", series.instances[0])]))

    assert answer.status == 200, answer.body


@BOTH_ADDRESSES
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Token"}, {"Authorization": "Basic eDp5"}])
def test_without_credentials_the_body_is_the_one_that_clients_compare(north, path, headers):
    answer = ask(north.stack, "POST", path, headers={**headers, **FORM}, body=multipart([]))

    assert answer.status == 401
    assert answer.json() == NO_CREDENTIALS


@BOTH_ADDRESSES
def test_a_token_that_nobody_has_is_not_authenticated(north, path):
    headers = {"Authorization": "Token of-nobody", **FORM}

    answer = ask(north.stack, "POST", path, headers=headers, body=multipart([]))

    assert answer.status == 401
    assert answer.json()["authenticated"] is False


@BOTH_ADDRESSES
def test_a_workspace_that_is_not_the_tokens_is_denied_before_anything_is_stored(north, only_ct1, new_series, path):
    series = new_series()
    body = multipart([form_part("file0", series.instances[0])])

    denied = ask(north.stack, "POST", path, headers={**only_ct1.headers, **FORM, "Source": "ct2"}, body=body)
    allowed = ask(north.stack, "POST", path, headers={**only_ct1.headers, **FORM, "Source": "ct1"}, body=body)

    assert denied.status == 403
    assert denied.json() == ACCESS_DENIED
    assert allowed.status == 200
    assert allowed.json()["messages"]["file0"]["created"] is True


@BOTH_ADDRESSES
def test_a_body_above_the_limit_is_refused_by_its_length_before_it_is_sent(north, path):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: radbus\r\nAuthorization: Token {north.token}\r\nContent-Length: {9 * GIB}\r\n"
        f"Content-Type: {FORM['Content-Type']}\r\nAccept: application/json\r\n\r\n"
    )

    answer = head_of_answer(north.stack, path, head.encode() + f"--{BOUNDARY}\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"content-type: application/json" in answer.lower()


@pytest.mark.parametrize(
    ("headers", "speaks_stow"),
    [
        ({**RELATED, "Accept": "application/dicom+json"}, True),
        ({**RELATED, "Accept": "application/dicom+xml"}, True),
        ({**RELATED, "Accept": "application/dicom+json", "Source": "ward-3"}, True),
        ({**FORM, "Accept": "application/dicom+json"}, True),
        (RELATED, True),
        ({**RELATED, "Accept": "*/*"}, True),
        ({**RELATED, "Source": "ward-3"}, False),
        (FORM, False),
        ({**FORM, "Accept": "*/*"}, False),
        ({"Content-Type": "application/dicom"}, True),
        ({"Content-Type": "application/dicom", "Source": "ward-3"}, False),
    ],
)
def test_studies_answers_each_client_in_the_dialect_of_its_request(north, new_series, headers, speaks_stow):
    series = new_series()
    bare = headers["Content-Type"] == "application/dicom"
    body = series.instances[0] if bare else multipart([form_part("file0", series.instances[0])])

    answer = ask(north.stack, "POST", "/studies", headers={**north.headers, **headers}, body=body)

    assert answer.status == 200, answer.body
    if not speaks_stow:
        assert answer.json()["status"] == "success"
    elif "xml" in headers.get("Accept", ""):
        assert answer.content_type == "application/dicom+xml"
    else:
        assert answer.content_type == "application/dicom+json"
        assert "00081199" in json.loads(answer.body)


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/json", "garbage"])
def test_a_media_type_that_holds_no_instances_is_an_answer_and_no_fault_of_the_server(north, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}

    answer = ask(north.stack, "POST", "/upload", headers={**north.headers, **headers}, body=b"{}")

    assert answer.status in (400, 415)
    assert answer.json()["message"]
