"""All of radbus in one process, on the real servers: `radbus serve --all`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from radbus_cli.tokens import create_in
from radbus_testing.programs import service_running
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("together") / "radbus.log"


@pytest.fixture(scope="module")
def environment(stack) -> dict[str, str]:
    """The test's servers with a database of its own, in which nobody else left jobs."""
    return {**stack.environment(), "RADBUS_MONGO_DATABASE": "radbus-together"}


@pytest.fixture(scope="module")
def together(stack, environment, log) -> Iterator[str]:
    """Its address; it must be ready, and end cleanly at SIGTERM."""
    port = stack.layout.port("front")
    arguments = ("serve", "--all", "--port", str(port))
    with service_running(
        "cli", {**environment, "RADBUS_HTTP_PORT": "1"}, port=port, log=log, arguments=arguments
    ) as url:
        yield url


@pytest.fixture
def ask(environment, together, institution) -> Callable[..., httpx2.Response]:
    token = asyncio.run(create_in(environment, institution=institution, name="test"))

    def ask(method: str, path: str, headers: dict[str, str] | None = None, **options) -> httpx2.Response:
        headers = {"Authorization": f"Token {token}"} | (headers or {})
        return httpx2.request(method, f"{together}{path}", headers=headers, timeout=60, **options)

    return ask


def test_a_series_sent_to_the_one_process_gets_its_result_there(ask, make_series):
    series = make_series()
    files = [(f"f{n}", (f"{n}", each, "application/dicom")) for n, each in enumerate(series.instances)]

    sent = ask("POST", "/upload", {"X-Series-Complete": "true"}, files=files)

    def settled() -> httpx2.Response | None:
        answer = ask("GET", f"/results/{series.uid}")
        return None if answer.status_code in (202, 404) else answer

    answer = eventually(settled, timeout_s=60, what="result")
    assert (sent.status_code, answer.status_code) == (200, 200), answer.text
    assert answer.json()["usecase"] == "qct"
    assert [job["state"] for job in ask("GET", "/jobs").json()["jobs"]] == ["completed"]
    assert ask("GET", "/use-cases").json()["use_cases"]


def test_the_one_process_is_ready_when_each_service_is_and_counts_for_all(together):
    ready = httpx2.get(f"{together}/readyz", timeout=20).json()
    counted = httpx2.get(f"{together}/metrics", timeout=20).text

    assert ready["ready"] is True
    assert {name.partition(".")[0] for name in ready["checks"]} == {
        "ingest",
        "router",
        "scheduler",
        "worker",
        "results",
    }
    assert ready["checks"]["worker.triton"] == "ok"
    assert "radbus_messages_settled_total" in counted


def test_what_stands_before_it_on_this_machine_says_by_which_scheme_it_was_asked(ask, make_series):
    instance = make_series().instances[0]
    headers = {
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
        "Accept": "application/dicom+json",
        "X-Forwarded-Proto": "https",
        "Host": "radbus.example",
    }

    answer = ask(
        "POST", "/studies", headers, content=b"--b\r\nContent-Type: application/dicom\r\n\r\n%s\r\n--b--" % instance
    )

    assert answer.headers["content-type"] == "application/dicom+json"
    assert answer.json()["00081190"]["Value"][0].startswith("https://radbus.example/studies/")


def test_what_the_one_process_logs_is_json_a_line(together, log):
    lines = [json.loads(line) for line in log.read_text().splitlines()]

    assert [line["event"] for line in lines].count("service.started") == 5
    assert {line["service"] for line in lines} == {"radbus"}
