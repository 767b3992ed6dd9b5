"""The operator's commands against services in memory: what they say, on which stream, with which exit status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from radbus_cli import sending
from radbus_cli.client import Client, RefusedError
from radbus_cli.console import print_result
from radbus_cli.doctor import judged, judged_front
from radbus_cli.folder import read_folder
from radbus_cli.local.commands import logs
from radbus_cli.local.errors import StackError
from radbus_cli.local.stack import LocalStack
from radbus_cli.target import NoTokenError, Target, TargetSettings
from radbus_testing.phantom import chest_phantom
from radbus_testing.phantom_dicom import PhantomHeader, phantom_instances

STUDY, SERIES = "1.2.3", "1.2.3.4"
Answerer = Callable[[httpx2.Request], httpx2.Response]


def target(token: str = "secret") -> Target:
    return Target(TargetSettings(token=SecretStr(token)))


def client_of(answer: Answerer, *, asked: list[httpx2.Request] | None = None) -> Client:
    """Make a client whose requests are answered in memory."""

    def note(request: httpx2.Request) -> httpx2.Response:
        request.read()
        if asked is not None:
            asked.append(request)
        return answer(request)

    return Client(target(), transport=httpx2.MockTransport(note))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two instances of the same file name in two folders, and a text."""
    header = PhantomHeader(study_instance_uid=STUDY, series_instance_uid=SERIES)
    for name, content in zip("ab", phantom_instances(chest_phantom(slices=2, rows=64), header), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(content)
    (tmp_path / "a" / "notes.txt").write_text("hello")
    return tmp_path


def test_an_instance_that_was_refused_after_its_header_was_read_counts_as_refused(folder):
    kept = {"message": "DICOM registered successfully.", "metadata": {"SOPInstanceUID": "1"}}
    refused = {"message": "Not registered: other content.", "metadata": {}}
    client = client_of(lambda _: httpx2.Response(200, json={"messages": {"file0": kept, "file1": refused}}))

    _, told = sending.send_folder(client, folder, quiet=True)

    assert told["b/1.dcm"] == "Not registered: other content."
    assert "expected a DICOM file" in told["a/notes.txt"]
    assert set(told) == {"b/1.dcm", "a/notes.txt"}


def test_results_that_are_all_there_are_not_too_slow_whatever_the_deadline(folder):
    client = client_of(lambda _: httpx2.Response(200, json={"triage_status": "Routine"}))
    series, _ = read_folder(folder)

    answers = sending.wait_for(client, series, timeout_s=0, quiet=True)

    assert answers[SERIES]["status"] == 200


def test_a_request_for_computation_says_whether_to_compute_once_more_and_304_has_no_body():
    asked: list[httpx2.Request] = []
    client = client_of(lambda _: httpx2.Response(304), asked=asked)

    answer = client.compute("1.2", recompute=True)

    assert (answer.status, answer.body) == (304, None)
    assert (asked[0].url.path, asked[0].content) == ("/compute/1.2", b'{"recompute":true}')


def test_a_uid_goes_into_the_address_as_it_is():
    asked: list[httpx2.Request] = []
    client = client_of(lambda _: httpx2.Response(404, json={"message": "no"}), asked=asked)

    client.results("a/b?c#d")

    assert asked[0].url.raw_path == b"/results/a%2Fb%3Fc%23d"


@pytest.mark.parametrize(("token", "source"), [("tök", None), ("a\nb", None), ("secret", "Röntgen")])
def test_what_cannot_be_in_a_header_is_refused_in_words(token, source):
    with pytest.raises(RefusedError, match="printable ASCII"):
        Client(target(token), source=source)


def test_an_id_too_long_for_an_address_is_refused_in_words():
    client = client_of(lambda _: httpx2.Response(200))

    with pytest.raises(RefusedError, match="URL"):
        client.results("9" * 70_000)


def test_an_empty_token_is_none(tmp_path):
    empty = Target(TargetSettings(token=SecretStr(" ")), LocalStack(tmp_path, given={}))

    with pytest.raises(NoTokenError):
        _ = empty.token


def test_text_of_a_service_that_looks_like_markup_is_printed_as_it_is(capsys):
    body = {"usecase": "[/x]", "triage_status": "Routine", "result": {"report": "[/red] fine", "limits": ["[a]"]}}

    print_result("[/foo]", body)
    sending._print_answer("[/foo]", {"status": 404, "body": {"message": "[/bar] no"}})

    printed = capsys.readouterr()
    assert "[/red] fine" in printed.out
    assert "[/foo]: [/bar] no" in printed.err


def test_a_result_for_a_person_has_numbers_as_the_report_and_no_wall_of_addresses(capsys):
    measured = [{"title": f"M{n}", "value": value, "unit": "1"} for n, value in enumerate((0.4761, 2867.4, 12345.6))]
    files = {"pdf": ["http://x/pdf"], "reports": ["http://x/pdf"], "sc": [f"http://x/sc-{n}" for n in range(44)]}

    print_result("1.2", {"usecase": "qxr", "result": {"report": "fine", "measurements": measured, "files": files}})

    printed = capsys.readouterr().out
    assert all(text in printed for text in ("0.4761", "2867", "12346", "and 38 more"))
    assert printed.count("http://") == 7


@pytest.mark.parametrize("text", ["It works!", "[]", '{"checks": 3}'])
def test_another_program_on_the_port_of_a_service_is_a_finding_of_the_doctor(text):
    answer = httpx2.Response(200, text=text)

    for judge in (judged, judged_front):
        found = judge("results", "http://127.0.0.1:80", answer)

        assert not found.well
        assert found.says == "not a service of radbus at http://127.0.0.1:80: it answered 200"


@pytest.mark.parametrize("name", ["nope", "../secret"])
def test_the_log_of_a_program_that_there_is_not_is_refused_by_name(tmp_path, name):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "ingest.log").write_text("{}")
    (tmp_path / "secret.log").write_text("not to be shown")

    with pytest.raises(StackError, match="there are: ingest"):
        logs(name, root=tmp_path, base_port=17000)
