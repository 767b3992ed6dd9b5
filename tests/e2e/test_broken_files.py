"""Real malformed files: each is accepted, or refused with the right reason; what is accepted never stops a worker."""

from __future__ import annotations

import io
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import httpx2
import pytest
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack

# What each file's name says is wrong with it: the failure reason and words of the answer. All others are only odd.
REFUSED = (
    ("*instanceuid_over_*", 0xC000, "digits and dots"),
    ("*instanceuid_len1*", 0xC000, "digits and dots"),
    ("*UI_as_LO*", 0xA900, "they differ"),
    ("*buf_zero*", 0xA900, "bytes of pixel data"),
    ("*bits_ba_48*", 0xA900, "bytes of pixel data"),
    ("*px_*", 0xA900, "bytes of pixel data"),
    ("*deflate_corrupt*", 0xC000, "expected a whole file"),
    ("*dicm_offset0*", 0xC000, "expected a DICOM file"),
    ("*meta_glen_one*", 0xC000, "file meta information"),
    ("*invalid_ts*", 0xC122, "transfer syntax"),
    ("*uid_uid_*", 0xC000, "digits and dots"),
    ("*uid_reuse*", 0xC000, "digits and dots"),
    ("*meta_000?_vr_[347]?*", 0xC000, "file meta information"),
    ("*meta_001?_vr_[347]?*", 0xC000, "file meta information"),
    ("*meta_00??_vr_0000*", 0xC000, "file meta information"),
    ("*meta_00??_vr_6f62*", 0xC000, "file meta information"),
    ("*meta_ALL*", 0xC000, "file meta information"),
    ("*meta_ts_vr_*", 0xC000, "expected a whole file"),
    ("*encap_frag_len_*", 0xC000, "encapsulated pixel data"),
    ("*missing_sop_instance*", 0xC000, "expected one SOPInstanceUID"),
    ("*missing_cols*", 0xA900, "Rows, Columns and BitsAllocated"),
    ("*truncated_*", 0xC000, "file meta information"),
    ("*ect_65535_frames*", 0xA900, "they differ"),
    ("*oob_len*", 0xC000, "expected a whole file"),
    ("*odd_len_len255*", 0xC000, "expected one StudyInstanceUID"),
    ("*uid_traversal*", 0xC000, "expected one SOPInstanceUID"),
    ("bad_sequence*", 0xC000, "digits and dots"),
    ("*too_short*", 0xC000, "expected a whole file"),
)
ACCEPTED_ALL_THE_SAME = ("*meta_0003_vr_4242*", "*meta_0012_vr_4242*")  # a VR that is skipped with what it holds
# Of the real sets: without a UID, with another than their file meta information, or without pixels.
NOT_CONFORMANT = {
    "chrJapMulti.dcm",
    "chrJapMultiExplicitIR6.dcm",
    "chrKoreanMulti.dcm",
    "chrSQEncoding.dcm",
    "chrSQEncoding1.dcm",
    "HTJ2KLossless_08_RGB.dcm",
}
AS_CT, AS_CR = b"\x08\x00\x60\x00CS\x02\x00CT", b"\x08\x00\x60\x00CS\x02\x00CR"


@pytest.fixture(scope="module")
def broken(shared_data) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((shared_data / "broken").rglob("*.dcm"))}


def expectation(name: str) -> tuple[int, str] | None:
    if any(fnmatch(name, pattern) for pattern in ACCEPTED_ALL_THE_SAME):
        return None
    return next(((reason, words) for pattern, reason, words in REFUSED if fnmatch(name, pattern)), None)


def test_each_malformed_file_is_accepted_or_refused_for_what_is_wrong_with_it(hospital, broken):
    refused, accepted = set(), set()
    for name, content in broken.items():
        upload = hospital.post_upload([content])
        stow = hospital.http.post(
            hospital.url("/studies"), headers={**hospital.headers, "Content-Type": "application/dicom"}, content=content
        )
        expected = expectation(name)
        message = upload.json()["messages"]["file0"]["message"]
        if expected is None:
            # Many of them have the UIDs of the same instance; the second one with them is another's duplicate.
            is_other = "other content" in message
            assert upload.status_code == (400 if is_other else 200), (name, message)
            assert stow.status_code in ((409,) if is_other else (200, 202)), name
            accepted.add(name)
            continue
        reason, words = expected
        assert upload.status_code == 400, name
        assert words in message, name
        assert stow.status_code == 409, name
        assert _reason(stow) == reason, name
        refused.add(name)

    assert len(accepted) > 80
    assert len(refused) > 40


def _reason(answer: httpx2.Response) -> int:
    (failed,) = answer.json()["00081198"]["Value"]
    return failed["00081197"]["Value"][0]


def test_a_worker_ends_a_run_on_each_malformed_file_with_a_reason_and_goes_on(hospital, broken, shared_data):
    # As radiographs, of which one alone is a volume, so that their pixels are decoded.
    runs = {name: _start(hospital, {"ct/1": content.replace(AS_CT, AS_CR)}) for name, content in broken.items()}
    whole = sorted((shared_data / "ct_head_phantom_philips").iterdir())
    good = _start(hospital, {f"ct/{path.name}": path.read_bytes() for path in whole})

    ends = {name: _end(hospital, run) for name, run in runs.items()}

    for name, answer in ends.items():
        assert answer.status_code in (200, 400), (name, answer.text)
        if answer.status_code == 400:
            assert answer.json()["extra_details"] == "InvalidZipFile"
    assert _end(hospital, good).status_code == 200


def _start(hospital, entries: dict[str, bytes]) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    answer = hospital.http.post(
        hospital.url("/v1/model/start/PassThroughModel:1729"),
        headers={"API_AUTH_SECRET": hospital.token},
        content=packed.getvalue(),
    )
    assert answer.status_code == 201, answer.text
    return answer.text


def _end(hospital, run: str) -> httpx2.Response:
    def ended() -> httpx2.Response | None:
        answer = hospital.http.get(
            hospital.url(f"/v1/model/results/{run}"), headers={"API_AUTH_SECRET": hospital.token}
        )
        return None if answer.status_code == 202 else answer

    return eventually(ended, timeout_s=180, what="the end of a run")


def test_the_files_of_all_real_sets_are_accepted(hospital, shared_data):
    for folder in sorted(path for path in shared_data.iterdir() if path.is_dir() and path.name != "broken"):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".csv"]
        messages = hospital.upload([path.read_bytes() for path in files])["messages"]

        wrong = {_name(files, key): each["message"] for key, each in messages.items() if not _is_stored(each)}
        assert set(wrong) <= NOT_CONFORMANT, (folder.name, wrong)


def _name(files: list[Path], key: str) -> str:
    return files[int(key.removeprefix("file"))].name


def _is_stored(answer: dict[str, object]) -> bool:
    # Some files of these sets are one instance in several encodings.
    return bool(answer["created"]) or any(words in str(answer["message"]) for words in ("already", "other content"))
