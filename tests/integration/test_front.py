"""The one address, as nginx and as one process: what goes through it, and what it answers by itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import uvicorn
from radbus_cli.local.front import front, write_front_files
from radbus_cli.local.layout import Layout
from radbus_cli.one_address import OneAddress
from radbus_contracts.routes import ROUTES, Route, ServiceName
from radbus_testing.waiting import eventually

HOST = "127.0.0.1"
UNKNOWN = ["/", "/explain/", "/UPLOAD", "/%75pload", "/results/", "/results/1/2", "/jobs/1/stop"]
MARK = "ZQXMARK"


class Echo:
    """A service that says what came, and answers as the request's headers ask it to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = threading.Event()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        length, more = 0, True
        while more:
            message = await receive()
            length, more = length + len(message.get("body", b"")), message.get("more_body", False)
            self.began.set()
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        asked = dict(headers)
        told = {
            "service": self.name,
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "headers": headers,
            "length": length,
        }
        body = asked.get("x-body", json.dumps(told)).encode()
        answer = [(b"content-type", asked.get("x-type", "application/json").encode())]
        await send({"type": "http.response.start", "status": int(asked.get("x-status", "200")), "headers": answer})
        await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class Front:
    """One address with echoing services behind it."""

    url: str
    port: int
    echoes: dict[ServiceName, Echo]

    def ask(self, method: str, path: str, **options) -> httpx2.Response:
        return httpx2.request(method, f"{self.url}{path}", timeout=20, **options)


@contextmanager
def serving(app, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started, timeout_s=20, what="started server", every_s=0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def nginx(layout: Layout, *, replicas: int = 1) -> Iterator[Path]:
    """Run nginx as the local stack does, and give its log."""
    if shutil.which("nginx") is None and not os.environ.get("CI"):
        pytest.skip("nginx is not installed: run `make install`")
    program, log = front(layout), layout.root / "front.log"
    program.folder.mkdir(parents=True)
    write_front_files(layout, replicas=replicas)
    with log.open("ab") as out:
        running = subprocess.Popen(program.command, cwd=program.folder, stdout=out, stderr=subprocess.STDOUT)
    try:
        eventually(program.is_ready, timeout_s=20, what="ready nginx")
        yield log
    finally:
        running.terminate()
        running.wait(20)


@pytest.fixture(scope="module")
def layout(tmp_path_factory, base_port) -> Layout:
    return Layout(tmp_path_factory.mktemp("f"), base_port + 900)


@pytest.fixture(scope="module")
def behind_nginx(layout) -> Iterator[Front]:
    echoes = {name: Echo(name) for name in ServiceName}
    with ExitStack() as stack:
        for name, echo in echoes.items():
            stack.enter_context(serving(echo, layout.port(name)))
        stack.enter_context(nginx(layout))
        yield Front(f"http://{HOST}:{layout.port('front')}", layout.port("front"), echoes)


@pytest.fixture(scope="module")
def in_one_process(layout) -> Iterator[Front]:
    echoes, port = {name: Echo(name) for name in ServiceName}, layout.port("worker-0")
    with serving(OneAddress(echoes, own=Echo("own")), port):
        yield Front(f"http://{HOST}:{port}", port, echoes)


@pytest.fixture(params=["behind_nginx", "in_one_process"])
def any_front(request) -> Front:
    return request.getfixturevalue(request.param)


def addressed(route: Route) -> str:
    return re.sub(r"\{\w+\}", "a%2Fb:c%3A%20d", route.path)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_a_request_comes_to_its_service_with_its_address_as_it_was(any_front, route):
    for method in route.methods or ("GET", "POST", "PUT", "DELETE"):
        told = any_front.ask(method, f"{addressed(route)}?x=%2F&y=ä").json()

        assert (told["service"], told["method"]) == (route.service, method)
        assert (told["path"], told["query"]) == (addressed(route), "x=%2F&y=%C3%A4")


@pytest.mark.parametrize(
    ("method", "path", "service"),
    [
        ("POST", "/upload/", "ingest"),
        ("POST", "/studies/", "ingest"),
        ("POST", "/studies/1.2/", "ingest"),
        ("GET", "/api/models/m/patients/p/inferences", "results"),
    ],
)
def test_a_slash_too_many_or_too_few_does_not_send_a_client_and_its_body_away(any_front, method, path, service):
    told = any_front.ask(method, path).json()

    assert (told["service"], told["path"]) == (service, path)


@pytest.mark.parametrize("path", UNKNOWN)
def test_a_path_that_there_is_not_is_404_in_json(any_front, path):
    answer = any_front.ask("GET", path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"success": False, "message": "There is nothing at this path."}


def test_another_method_is_405_and_says_which_there_are(any_front):
    answers = [any_front.ask("DELETE", "/compute/1.2"), any_front.ask("GET", "/upload"), any_front.ask("HEAD", "/jobs")]

    assert [(each.status_code, each.headers["allow"]) for each in answers] == [
        (405, "GET, POST"),
        (405, "POST"),
        (405, "GET"),
    ]
    assert answers[0].headers["content-type"] == "application/json"
    assert answers[0].json() == {"success": False, "message": "This path takes other methods; see Allow."}


def test_a_header_with_underscores_and_the_host_that_was_asked_come_through(any_front):
    headers = {"API_AUTH_SECRET": "s3cret", "Authorization": "Token x", "Source": "ward", "Host": "radbus.example:8443"}

    told = any_front.ask("GET", "/v1/ping", headers=headers).json()["headers"]

    got = dict(told)
    assert {name.lower(): got[name.lower()] for name in headers} == {n.lower(): value for n, value in headers.items()}


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (201, "text/plain", "f3b4"),
        (202, "text/html; charset=utf-8", ""),
        (409, "application/dicom+json", "{}"),
        (502, "application/json", '{"success": false, "message": "A store is away"}'),
        (404, "application/json", '{"detail": "its own"}'),
    ],
)
def test_an_answer_of_a_service_comes_back_byte_for_byte(any_front, status, content_type, body):
    asked = {"x-status": str(status), "x-type": content_type, "x-body": body}

    answer = any_front.ask("GET", "/ping", headers=asked)

    assert (answer.status_code, answer.text) == (status, body)
    assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize("length", [3_000_000, None], ids=["length", "chunked"])
def test_a_body_streams_through_and_is_kept_on_no_disk(any_front, layout, length):
    echo = any_front.echoes[ServiceName.INGEST]
    echo.began.clear()
    files: list[Path] = []

    def body() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        assert echo.began.wait(20), "the service got nothing before the body's end"
        files.extend(path for path in (layout.root / "front" / "temporary").rglob("*") if path.is_file())
        yield b"x" * 2_000_000

    headers = {"Content-Length": str(length)} if length else {}
    told = any_front.ask("POST", "/upload", content=body(), headers=headers).json()

    assert told["length"] == 3_000_000
    assert files == []


def test_a_client_that_waits_for_100_continue_gets_it(any_front):
    head = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with socket.create_connection((HOST, any_front.port), timeout=20) as connection:
        connection.sendall(head.encode())
        first = connection.recv(1000)
        connection.sendall(b"abc")
        rest = connection.makefile("rb").read()

    assert first.startswith(b"HTTP/1.1 100 ")
    assert b'"length": 3' in rest


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/docs", "/openapi.json"])
def test_what_a_service_tells_of_itself_is_not_for_clients_of_nginx(behind_nginx, path):
    assert behind_nginx.ask("GET", path).status_code == 404
    assert behind_nginx.ask("GET", "/healthz").json() == {"status": "ok"}


def test_nginx_says_who_asked_and_believes_nobody_who_says_so_himself(behind_nginx):
    lies = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}

    told = behind_nginx.ask("GET", "/ping", headers=lies).json()["headers"]

    own = [(name, value) for name, value in told if name.startswith("x-forwarded")]
    assert sorted(own) == [
        ("x-forwarded-for", HOST),
        ("x-forwarded-host", f"{HOST}:{behind_nginx.port}"),
        ("x-forwarded-proto", "http"),
    ]


def test_a_request_that_cannot_be_read_is_refused_in_json(behind_nginx):
    with socket.create_connection((HOST, behind_nginx.port), timeout=20) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\n\r\n")  # without a Host
        no_host = connection.makefile("rb").read()
    answers = [
        behind_nginx.ask("GET", f"/results/{'9' * 40_000}"),
        behind_nginx.ask("GET", "/ping", headers={"Authorization": "9" * 40_000}),
    ]

    assert no_host.startswith(b"HTTP/1.1 400 ")
    assert b'{"success": false' in no_host
    assert [answer.status_code for answer in answers] == [414, 431]
    assert [answer.json()["success"] for answer in answers] == [False, False]


def test_a_service_that_is_away_is_503_in_json_and_the_others_answer(layout, tmp_path):
    away = Layout(tmp_path, layout.base_port + 100)
    url = f"http://{HOST}:{away.port('front')}"
    with serving(Echo("router"), away.port("router")), nginx(away):
        answer = httpx2.post(f"{url}/upload", content=b"x" * 3_000_000, timeout=20)
        other = httpx2.get(f"{url}/use-cases", timeout=20)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"success": False, "message": "A service is away; please try again."}
    assert other.json()["service"] == "router"


def test_nothing_of_an_address_or_a_header_is_in_nginx_log_whatever_becomes_of_the_request(layout, tmp_path):
    own = Layout(tmp_path, layout.base_port + 100)
    url = f"http://{HOST}:{own.port('front')}"
    path = f"/api/models/lung/patients/{MARK}%2F1/inferences/"
    with serving(Echo("results"), own.port("results")), nginx(own) as log:
        asked = [
            ("GET", f"{path}?name={MARK}"),
            ("GET", f"/{MARK}"),
            ("GET", "/upload?" + MARK),
            ("GET", f"/jobs/{MARK}"),
            ("GET", f"{path}{MARK * 10_000}"),
            (MARK, path),
            ("GET", f"/%zz/{MARK}"),
            ("GET", f"/../../{MARK}"),
        ]
        statuses = [_raw(own.port("front"), method, target) for method, target in asked]
        httpx2.get(f"{url}{path}", headers={"Referer": MARK, "User-Agent": MARK, "x-status": "500"}, timeout=20)
        eventually(lambda: log.read_text().count("request.answered") == 9, timeout_s=20, what="nine lines")

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert statuses == [200, 404, 405, 503, 414, 405, 400, 400]
    assert MARK not in log.read_text().upper()
    assert lines[0]["route"] == "GET /api/models/{model_id}/patients/{patient_mrn}/inferences/"
    assert (lines[3]["route"], lines[3]["from"], lines[3]["status"]) == ("GET /jobs/{job_id}", "scheduler", 503)
    assert {lines[number]["route"] for number in (1, 2, 4, 5)} == {"unknown"}


def _raw(port: int, method: str, target: str) -> int:
    """Send a request line as it is, and return the status."""
    with socket.create_connection((HOST, port), timeout=20) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: {MARK}\r\nConnection: close\r\n\r\n".encode())
        return int(connection.makefile("rb").readline().split()[1])


def test_what_one_replica_of_two_cannot_take_goes_to_the_other_and_nothing_goes_to_both(tmp_path_factory, base_port):
    layout, echo = Layout(tmp_path_factory.mktemp("f"), base_port + 800), Echo(ServiceName.INGEST)

    with nginx(layout, replicas=2), serving(echo, layout.port("ingest-1")):
        url = f"http://{HOST}:{layout.port('front')}/upload"
        statuses = [httpx2.post(url, content=b"x" * 100_000, timeout=20).status_code for _ in range(10)]
        nobody = httpx2.get(f"http://{HOST}:{layout.port('front')}/results/1.2.3", timeout=20)

    assert statuses == [200] * 10
    assert nobody.status_code == 503
