"""The ways in over HTTP: each dialect's answer to good, bad and half good requests."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from radbus_ingest.domain.completeness import CompletenessRules

Make = Callable[..., Any]
RELATED = 'multipart/related; type="application/dicom"; boundary=b'
FORM = "multipart/form-data; boundary=b"


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


async def test_an_upload_is_answered_by_field_name_when_bytes_records_and_touches_are_there(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(("file0", make_instance(1)), ("a/b.dcm", make_instance(2)))

    answer = await ingest.post("/upload", body, FORM)

    assert answer.status == 200
    assert answer.json["message"] == "Success"
    assert answer.json["status"] == "success"
    assert answer.json["series_instance_uids"] == ["1.2.3.4"]
    assert answer.json["detailed_info"] == [{"SeriesInstanceUID": "1.2.3.4", "NumberOfSeriesRelatedInstances": 2}]
    first = answer.json["messages"]["file0"]
    assert (first["message"], first["created"], first["license_expired"]) == (
        "DICOM registered successfully.",
        True,
        False,
    )
    assert first["metadata"]["SOPInstanceUID"] == "1.2.3.4.1"
    assert set(answer.json["messages"]) == {"file0", "a/b.dcm"}
    assert len(ingest.stores.objects) == 2
    assert [uid for _, uid in ingest.stores.series] == ["1.2.3.4"]
    assert [touch.study_instance_uid for touch in ingest.stores.studies] == ["1.2.3"]


async def test_nothing_that_identifies_a_patient_is_in_an_answer_or_an_object_name(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(("file0", make_instance(1)), ("file1", make_instance(2)[:-100]))

    answer = await ingest.post("/upload", body, FORM)

    assert b"ecret" not in answer.body
    assert not any("ecret" in key for key in ingest.stores.objects)
    assert all(re.fullmatch(r"hospital/instances/[0-9./a-f]+\.dcm", key) for key in ingest.stores.objects)


@pytest.mark.parametrize("path", ["/upload", "/studies"])
async def test_storing_the_same_bytes_twice_is_storing_them_once_and_touching_twice(
    path: str, ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(("file0", make_instance(1)))

    first = await ingest.post(path, body, FORM)
    second = await ingest.post(path, body, FORM)

    assert (first.status, second.status) == (200, 200)
    assert first.json["messages"]["file0"]["created"] is True
    assert second.json["messages"]["file0"]["created"] is False
    assert ingest.stores.puts == 1
    assert len(ingest.stores.series) == 2
    assert len(ingest.told) == 1


async def test_the_same_bytes_again_do_not_open_a_series_that_was_completed_with_all_of_them(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    await ingest.post("/upload", multipart(("file0", make_instance(1)), ("file1", make_instance(2))), FORM)
    [(_, series)] = ingest.stores.series
    ingest.stores.completed["hospital", series] = 2

    await ingest.post("/upload", multipart(("file0", make_instance(1))), FORM)
    whole = len(ingest.stores.series)
    ingest.stores.completed["hospital", series] = 1  # the other was stored, and its touch was lost
    await ingest.post("/upload", multipart(("file0", make_instance(1))), FORM)

    assert whole == len(ingest.stores.studies) - 1 == 1
    assert len(ingest.stores.series) == 2


async def test_the_same_uid_with_other_bytes_is_refused_as_a_duplicate(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    await ingest.post("/studies", multipart(("a", make_instance(1))), RELATED)

    answer = await ingest.post("/studies", multipart(("a", make_instance(1, PatientID="OTHER"))), RELATED)

    assert answer.status == 409
    assert Dataset.from_json(answer.json).FailedSOPSequence[0].FailureReason == 0x0111
    assert len(ingest.stores.records) == 1


async def test_an_upload_tells_metadata_of_what_was_recorded_only(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    await ingest.post("/upload", multipart(("a", make_instance(1))), FORM)
    body = multipart(("again", make_instance(1)), ("other", make_instance(1, PatientID="OTHER")))

    answer = await ingest.post("/upload", body, FORM)

    again, other = answer.json["messages"]["again"], answer.json["messages"]["other"]
    assert (again["created"], other["created"]) == (False, False)
    assert again["metadata"]["SOPInstanceUID"] == "1.2.3.4.1"
    assert other["metadata"] == {}


async def test_the_good_neighbours_of_a_bad_part_are_kept(ingest: Any, make_instance: Make, multipart: Make) -> None:
    body = multipart(("good", make_instance(1)), ("bad", b"no DICOM at all"), ("cut", make_instance(2)[:-10]))

    answer = await ingest.post("/upload", body, FORM)

    messages = answer.json["messages"]
    assert answer.status == 200
    assert messages["good"]["created"] is True
    assert messages["bad"]["created"] is False
    assert "expected a DICOM file" in messages["bad"]["message"]
    assert messages["cut"]["created"] is False


async def test_an_upload_without_any_instance_is_400_in_the_words_that_clients_know(
    ingest: Any, multipart: Make
) -> None:
    answer = await ingest.post("/upload", multipart(("bad", b"x")), FORM)

    assert answer.status == 400
    assert answer.json["message"] == "No DICOM files were uploaded!"


async def test_fields_of_the_same_name_all_have_an_answer(ingest: Any, make_instance: Make, multipart: Make) -> None:
    body = multipart(("f", make_instance(1)), ("f", make_instance(2)), ("f", make_instance(3)))

    answer = await ingest.post("/upload", body, FORM)

    assert set(answer.json["messages"]) == {"f", "f_1", "f_2"}


async def test_the_entries_of_a_zip_are_stored_like_parts(ingest: Any, make_instance: Make, multipart: Make) -> None:
    archive = zipped({"ct/1": make_instance(1), "ct/2": make_instance(2), "notes.txt": b"hello"})

    in_a_part = await ingest.post("/upload", multipart(("z", archive)), FORM)
    bare = await ingest.post("/upload", archive, "application/zip")

    assert in_a_part.status == bare.status == 200
    assert set(bare.json["messages"]) == {"ct/1", "ct/2", "notes.txt"}
    assert in_a_part.json["messages"]["ct/1"]["created"] is True
    assert bare.json["messages"]["ct/1"]["created"] is False


async def test_a_damaged_zip_does_not_hurt_its_neighbours(ingest: Any, make_instance: Make, multipart: Make) -> None:
    archive = zipped({"ct/1": make_instance(1)})[:-30]

    answer = await ingest.post("/upload", multipart(("z", archive), ("good", make_instance(2))), FORM)

    assert answer.status == 200
    assert answer.json["messages"]["good"]["created"] is True
    assert "damaged" in answer.json["messages"]["z"]["message"]


@pytest.mark.parametrize(
    "content_type",
    [
        RELATED,
        "multipart/related; type=application/dicom; boundary=b",
        'Multipart/Related;boundary="b";type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1"',
        "multipart/related; boundary=b",
    ],
)
async def test_stow_rs_is_answered_in_exactly_its_media_type(
    content_type: str, ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = b"\r\n" + multipart(("a", make_instance(1)))

    answer = await ingest.post("/studies/1.2.3", body, content_type, piece_bytes=13)

    payload = Dataset.from_json(answer.json)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert payload.RetrieveURL == "https://pacs.example/dicomweb/studies/1.2.3"
    assert payload.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.1"
    assert "FailedSOPSequence" not in payload


async def test_stow_rs_answers_in_xml_when_asked(ingest: Any, make_instance: Make, multipart: Make) -> None:
    body = multipart(("a", make_instance(1)), ("b", b"bad"))

    answer = await ingest.post("/studies", body, RELATED, accept="application/dicom+xml")

    assert answer.status == 202
    assert answer.headers["content-type"] == "application/dicom+xml"
    assert b'keyword="FailureReason"><Value number="1">49152</Value>' in answer.body


async def test_stow_rs_refuses_another_study_than_that_of_the_address(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    answer = await ingest.post("/studies/1.9", multipart(("a", make_instance(1))), RELATED)

    failed = Dataset.from_json(answer.json).FailedSOPSequence[0]
    assert answer.status == 409
    assert (failed.FailureReason, failed.ReferencedSOPInstanceUID) == (0xA900, "1.2.3.4.1")


@pytest.mark.parametrize(
    ("elements", "cut_bytes", "reason"),
    [
        ({"SOPClassUID": "1.2.840.10008.1.1"}, 0, 0x0122),
        ({"SeriesInstanceUID": "no uid"}, 0, 0xC000),
        ({}, 100, 0xC000),
    ],
)
async def test_stow_rs_names_the_instance_that_it_refuses(
    elements: dict[str, str], cut_bytes: int, reason: int, ingest: Any, make_instance: Make, multipart: Make
) -> None:
    content = make_instance(1, **elements)

    answer = await ingest.post("/studies", multipart(("a", content[: len(content) - cut_bytes])), RELATED)

    failed = Dataset.from_json(answer.json).FailedSOPSequence[0]
    assert answer.status == 409
    assert failed.FailureReason == reason
    assert failed.ReferencedSOPInstanceUID == "1.2.3.4.1"
    assert failed.ReferencedSOPClassUID == elements.get("SOPClassUID", CTImageStorage)


async def test_an_instance_is_kept_as_it_came_whatever_transfer_syntax_the_media_type_says(
    ingest: Any, make_instance: Make
) -> None:
    content = make_instance(1)
    head = b'--b\r\nContent-Type: application/dicom; transfer-syntax="1.2.840.10008.1.2.4.50"\r\n\r\n'

    answer = await ingest.post("/studies", head + content + b"\r\n--b--\r\n", RELATED)

    [(_, header)] = ingest.stores.records.values()
    assert answer.status == 200
    assert header.transfer_syntax_uid == ExplicitVRLittleEndian
    assert list(ingest.stores.objects.values()) == [content]


@pytest.mark.parametrize("path", ["/upload/", "/studies/", "/studies/1.2.3/"])
async def test_an_address_that_ends_with_a_slash_is_answered_without_a_redirect(
    path: str, ingest: Any, make_instance: Make
) -> None:
    answer = await ingest.post(path, make_instance(1), "application/dicom")

    assert answer.status == 200


@pytest.mark.parametrize(
    ("content_type", "headers", "is_stow"),
    [
        (RELATED, {}, True),
        ("application/dicom", {}, True),
        (FORM, {"accept": "application/dicom+json"}, True),
        (RELATED, {"source": "allowed", "accept": "application/dicom+json"}, True),
        (RELATED, {"source": "allowed"}, False),
        ("application/dicom", {"source": "allowed"}, False),
        (FORM, {}, False),
    ],
)
async def test_studies_answers_in_the_dialect_of_the_request(
    content_type: str, headers: dict[str, str], is_stow: bool, ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = make_instance(1) if content_type == "application/dicom" else multipart(("a", make_instance(1)))

    answer = await ingest.post("/studies", body, content_type, **headers)

    assert answer.status == 200
    assert answer.headers["content-type"] == ("application/dicom+json" if is_stow else "application/json")
    assert ("message" in answer.json) is not is_stow


async def test_a_form_without_a_boundary_parameter_is_read_by_its_first_line(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    answer = await ingest.post("/upload", multipart(("a", make_instance(1))), "multipart/form-data")

    assert answer.status == 200


@pytest.mark.parametrize("path", ["/upload", "/studies"])
@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/form-data", b"no boundary", 400),
        (FORM, b"", 400),
        (FORM, b"no boundary", 400),
        (RELATED, b"--b\r\nbroken header\r\n\r\n1\r\n--b--", 400),
        ("application/dicom", b"", 400),
        ("application/json", b"{}", 415),
        (None, b"1", 415),
        ("multipart/related; type=application/dicom; boundary=b", b"--b--\r\n", 400),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_clear_answer(
    path: str, content_type: str | None, body: bytes, status: int, ingest: Any
) -> None:
    answer = await ingest.post(path, body, content_type)

    assert answer.status == status
    assert isinstance(answer.json, dict)
    assert ingest.room.used_bytes == 0


async def test_what_came_before_a_body_was_cut_is_kept_and_touched_and_the_answer_is_400(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(("a", make_instance(1)), ("b", make_instance(2)))[:-200]

    answer = await ingest.post("/upload", body, FORM)

    assert answer.status == 400
    assert len(ingest.stores.records) == len(ingest.stores.series) == 1
    assert ingest.room.used_bytes == 0


async def test_a_client_that_goes_away_leaves_no_bytes_waiting(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(("a", make_instance(1)), ("b", make_instance(2)), end=False)

    answer = await ingest.post("/upload", body, FORM, disconnect=True)

    assert answer.status == 400
    assert ingest.room.used_bytes == 0


async def test_a_body_above_the_limit_is_413_whether_or_not_it_says_its_size(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(*((str(n), make_instance(n, side=200)) for n in range(13)))

    silent = await ingest.post("/studies", body, RELATED)
    told = await ingest.post("/upload", body, FORM, content_length=str(len(body)))

    assert (silent.status, told.status) == (413, 413)
    assert ingest.room.used_bytes == 0


async def test_a_part_above_the_limit_does_not_hurt_its_neighbours(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(("large", make_instance(1, side=300)), ("small", make_instance(2)))

    answer = await ingest.post("/upload", body, FORM)

    assert answer.status == 200
    assert answer.json["messages"]["large"]["created"] is False
    assert answer.json["messages"]["small"]["created"] is True


async def test_an_upload_during_which_a_store_goes_away_is_no_success_and_can_be_sent_again(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(*((str(n), make_instance(n)) for n in range(1, 4)))
    ingest.stores.puts_until_away = 1

    cut_off = await ingest.post("/upload", body, FORM)
    ingest.stores.puts_until_away = None
    ingest.stores.away = set()
    again = await ingest.post("/upload", body, FORM)

    assert cut_off.status == 503
    assert sum(entry["created"] for entry in cut_off.json["messages"].values()) == 1
    assert again.status == 200
    assert sum(entry["created"] for entry in again.json["messages"].values()) == 2


@pytest.mark.parametrize("store", ["objects", "records", "series", "studies"])
@pytest.mark.parametrize(("path", "content_type"), [("/upload", FORM), ("/studies", RELATED)])
async def test_while_a_store_is_away_nothing_is_accepted_and_sending_again_succeeds(
    path: str, content_type: str, store: str, ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(("a", make_instance(1)))
    ingest.stores.away = {store}

    refused = await ingest.post(path, body, content_type)
    ingest.stores.away = set()
    accepted = await ingest.post(path, body, content_type)

    assert refused.status == 503
    assert int(refused.headers["retry-after"]) > 0
    assert accepted.status == 200
    assert len(ingest.stores.series) == 1


async def test_too_much_at_a_time_is_refused_with_retry_after(make_ingest: Make, multipart: Make) -> None:
    ingest = make_ingest(requests=0)

    answer = await ingest.post("/upload", multipart(("a", b"x")), FORM)

    assert answer.status == 503
    assert "retry-after" in answer.headers


@pytest.mark.parametrize("path", ["/upload", "/studies", "/studies/1.2.3"])
async def test_without_a_known_token_nothing_is_read(
    path: str, ingest: Any, make_instance: Make, multipart: Make
) -> None:
    answer = await ingest.post(path, multipart(("a", make_instance(1))), RELATED, authorization="Token wrong")

    assert answer.status == 401
    assert answer.json["authenticated"] is False
    assert not answer.is_body_read


async def test_a_workspace_of_another_is_403(ingest: Any, make_instance: Make, multipart: Make) -> None:
    answer = await ingest.post("/upload", multipart(("a", make_instance(1))), FORM, source="other")

    assert answer.status == 403
    assert answer.json == {"success": False, "message": "Access denied!"}


async def test_the_source_of_a_series_is_kept(ingest: Any, make_instance: Make, multipart: Make) -> None:
    await ingest.post("/upload", multipart(("a", make_instance(1))), FORM, source="allowed")

    source = ingest.stores.series[0][0].source
    assert source.names == ("allowed", "scanner")
    assert source.dialect == "upload"


@pytest.mark.parametrize(
    ("elements", "headers", "sources", "quiet_s"),
    [
        ({}, {}, (), 5),
        ({}, {"x_series_complete": "true"}, (), 0),
        ({}, {}, ("scanner",), 0),
        ({"Modality": "DX"}, {}, (), 0),
        ({"NumberOfSeriesRelatedInstances": 1}, {}, (), 0),
        ({"NumberOfSeriesRelatedInstances": 2}, {}, (), 5),
    ],
)
async def test_a_series_waits_for_quiet_unless_it_is_known_to_be_complete(
    elements: dict[str, Any],
    headers: dict[str, str],
    sources: tuple[str, ...],
    quiet_s: float,
    make_ingest: Make,
    make_instance: Make,
    multipart: Make,
) -> None:
    rules = CompletenessRules(quiet_s=5, study_quiet_s=7, whole_series_sources=frozenset(sources))
    ingest = make_ingest(rules=rules)

    await ingest.post("/upload", multipart(("a", make_instance(1, **elements))), FORM, **headers)

    assert ingest.stores.series[0][0].quiet_s == quiet_s
    assert ingest.stores.studies[0].quiet_s == 12


def test_every_answer_is_documented_in_each_of_its_media_types(ingest: Any) -> None:
    paths = ingest.api.openapi()["paths"]

    upload, stow = (paths[path]["post"] for path in ("/upload", "/studies/{study_instance_uid}"))
    as_everywhere = {"200", "400", "401", "403", "408", "413", "415", "429", "503"}
    assert set(upload["responses"]) == as_everywhere
    assert set(stow["responses"]) == as_everywhere | {"202", "409"}
    assert set(stow["responses"]["409"]["content"]) == {"application/dicom+json", "application/dicom+xml"}
    assert "application/json" in stow["responses"]["503"]["content"]
    assert "multipart/form-data" in upload["requestBody"]["content"]
    assert set(paths["/v1/model/start/{model_id}"]["post"]["responses"]["201"]["content"]) == {"text/plain"}


async def test_the_instances_of_all_zips_of_a_request_are_counted_together(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    zips = [(f"z{n}", zipped({f"{n}/{entry}": b"no instance" for entry in range(20)})) for n in range(3)]

    answer = await ingest.post("/upload", multipart(("good", make_instance(1)), *zips), FORM)

    assert answer.status == 413
    assert answer.json["message"] == "expected at most 50 instances in one request, those of zips included"
    assert answer.json["messages"]["good"]["created"] is True
    assert len(answer.json["messages"]) == 50
    assert ingest.room.used_bytes == 0


async def test_what_all_zips_of_a_request_become_is_counted_together(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    zips = [(f"z{n}", zipped({f"{n}": bytes(90_000), f"{n}b": bytes(90_000)})) for n in range(3)]

    answer = await ingest.post("/upload", multipart(*zips, ("good", make_instance(1))), FORM)

    assert answer.status == 200
    assert "at most 500000 bytes in one request" in answer.json["messages"]["z2"]["message"]
    assert answer.json["messages"]["good"]["created"] is True


async def test_what_came_in_while_its_study_was_purged_is_not_accepted(
    ingest: Any, make_instance: Make, multipart: Make
) -> None:
    body = multipart(("a", make_instance(1)))
    first = await ingest.post("/upload", body, FORM)
    ingest.stores.completed[("hospital", "1.2.3.4")] = 1
    ingest.stores.purged.add("1.2.3")

    again = await ingest.post("/upload", body, FORM)  # the same bytes, of which nothing may be there any more
    other = await ingest.post("/upload", multipart(("b", make_instance(2))), FORM)

    assert first.status == 200
    assert (again.status, other.status) == (503, 503)
    assert "was being purged; please send it again" in again.json["messages"]["a"]["message"]
    assert int(other.headers["retry-after"]) > 0
