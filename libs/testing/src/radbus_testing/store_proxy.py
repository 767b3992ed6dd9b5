"""An HTTP proxy in front of the object store that refuses some requests, or answers slowly, and passes on the rest.

The Host header is passed on as it came, so that signatures hold.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from radbus_testing.loopback import LoopbackServer

_TIMEOUT_S = 60.0
_OF_ONE_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}
_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>as the test wants it</Message></Error>"


class StoreProxy(LoopbackServer):
    """Passes requests between S3 clients and one store; steered from any thread."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self._lock = threading.Lock()
        self._refused: tuple[str, re.Pattern[str], range] | None = None
        self._status, self._code = 503, "SlowDown"
        self._paths: list[str] = []
        self.delay_s = 0.0
        self.refusals = 0
        super().__init__(_handler(self))

    def refuse(
        self, method: str, path: str, *, which: range = range(1_000_000), status: int = 503, code: str = "SlowDown"
    ) -> None:
        """Answer a method on paths that a pattern is found in with an error, until healed.

        `which` counts paths, from 0: a client that tries the same one again is refused again.
        """
        with self._lock:
            self._refused, self._paths, self.refusals = (method, re.compile(path), which), [], 0
            self._status, self._code = status, code

    def slow(self, seconds: float) -> None:
        """Let each request wait before it is passed on; 0 ends it."""
        self.delay_s = seconds

    def heal(self) -> None:
        """Refuse nothing and be slow no more."""
        with self._lock:
            self._refused = None
        self.slow(0)

    def refusal_of(self, method: str, path: str) -> tuple[int, bytes] | None:
        """Say with what a request is refused, or None."""
        with self._lock:
            if self._refused is None or method != self._refused[0] or not self._refused[1].search(path):
                return None
            if path not in self._paths:
                self._paths.append(path)
            if self._paths.index(path) not in self._refused[2]:
                return None
            self.refusals += 1
            return self._status, _ERROR % self._code.encode()


@contextmanager
def store_proxied(environment: Mapping[str, str]) -> Iterator[tuple[StoreProxy, dict[str, str]]]:
    """Give a proxy to the object store, and the environment in which the services' way to the store is through it."""
    url = urlsplit(environment["RADBUS_S3_URL"])
    with StoreProxy(url.hostname or "127.0.0.1", url.port or 80) as proxy:
        yield proxy, {**environment, "RADBUS_S3_URL": proxy.url}


def _handler(proxy: StoreProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _TIMEOUT_S

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its name in the library
            """Say nothing."""

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            refusal = proxy.refusal_of(self.command, self.path)
            if refusal is not None:
                self._answer(refusal[0], {"Content-Type": "application/xml"}, refusal[1])
                return
            time.sleep(proxy.delay_s)
            try:
                self._answer(*_asked(proxy, self, body))
            except OSError:
                self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815 - their names in the library

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name in headers):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _asked(proxy: StoreProxy, asked: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*proxy.target, timeout=_TIMEOUT_S)
    try:
        connection.putrequest(asked.command, asked.path, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_ONE_CONNECTION}
        return answer.status, headers, answer.read()
    finally:
        connection.close()
