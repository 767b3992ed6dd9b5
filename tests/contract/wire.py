"""Requests as they stand on the wire, and answers as they come: nothing is normalised, followed or retried."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from radbus_cli.local.stack import LocalStack

from tests.contract.addresses import url

TIMEOUT_S: Final = 30
BOUNDARY: Final = "radbus-0f3cf5c0"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; a header that came twice is a fault of its own."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header's value byte for byte, or None."""
        found = [value for each, value in self.headers if each.lower() == name.lower()]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def content_type(self) -> str | None:
        """Return the Content-Type, whole."""
        return self.header("content-type")

    def json(self) -> Any:
        """Read a JSON body; NaN and Infinity, which Python would take, are none."""
        assert self.content_type == "application/json", self
        return json.loads(self.body, parse_constant=_refuse)


def ask(
    stack: LocalStack,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
) -> Answer:
    """Ask radbus for a path; see `ask_address`."""
    return ask_address(method, url(stack, path), headers=headers, body=body)


def ask_address(
    method: str,
    address: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
) -> Answer:
    """Send a request with these headers, spelled as given, and Host; a body of several pieces goes in chunks."""
    where = urlsplit(address)
    path = f"{where.path}?{where.query}" if where.query else where.path
    connection = http.client.HTTPConnection(where.netloc, timeout=TIMEOUT_S)
    try:
        chunked = body is not None and not isinstance(body, bytes)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is not None or method == "POST":
            connection.putheader("Content-Length", str(len(body or b"")))  # type: ignore[arg-type]
        connection.endheaders(body, encode_chunked=chunked)
        came = connection.getresponse()
        return Answer(came.status, tuple(came.getheaders()), came.read())
    finally:
        connection.close()


def head_of_answer(stack: LocalStack, path: str, request: bytes) -> bytes:
    """Send bytes as they are and return the head of what is answered, without waiting for the connection's end."""
    where = urlsplit(url(stack, path))
    with socket.create_connection((str(where.hostname), int(where.port or 80)), timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
            head += piece
    return head.partition(b"\r\n\r\n")[0]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body; the headers stand as they are given."""

    content: bytes
    headers: tuple[str, ...] = ("Content-Type: application/dicom",)


def form_part(name: str, content: bytes, *, content_type: str | None = "application/dicom") -> Part:
    """Make a part of a form; `content_type` None leaves the header away."""
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{name}"'
    return Part(content, (disposition, *((f"Content-Type: {content_type}",) if content_type else ())))


def multipart(parts: Sequence[Part], *, preamble: bytes = b"", boundary: str = BOUNDARY) -> bytes:
    """Write a multipart body."""
    written = [preamble]
    for part in parts:
        head = "".join(f"{line}\r\n" for line in part.headers)
        written += [f"--{boundary}\r\n{head}\r\n".encode(), part.content, b"\r\n"]
    return b"".join([*written, f"--{boundary}--\r\n".encode()])


FORM: Final = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
RELATED: Final = {"Content-Type": f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'}


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
