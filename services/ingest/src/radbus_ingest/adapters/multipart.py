"""Take multipart bodies apart as they come, form-data and related alike: only boundaries and part headers matter."""

from __future__ import annotations

import logging
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from radbus_ingest.adapters.spool import NewSpool, Part, Spool
from radbus_ingest.domain.limits import BodyError, BodyTooLargeError

_HEAD_LIMIT_BYTES: Final = 64 * 1024
_BOUNDARY_LIMIT_BYTES: Final = 200  # RFC 2046 allows 70; some clients' are longer
_NAME_LIMIT_CHARACTERS: Final = 200
_NOT_MULTIPART = "expected a multipart body that begins with its boundary"

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes bytes of the body


class MultipartBody:
    """Fed with the bytes of a body, gives its parts; a body without a boundary parameter names it in its first line."""

    def __init__(self, boundary: bytes | None, new_spool: NewSpool, *, part_limit: int) -> None:
        self._boundary = boundary
        self._new_spool = new_spool
        self._part_limit = part_limit
        self._part_count = 0
        self._head = b""
        self._parser: MultipartParser | None = None
        self._ended = False
        self._spool: Spool | None = None
        self._ready: list[Part] = []
        self._headers: dict[bytes, bytes] = {}
        self._field = b""
        self._value = b""

    def feed(self, data: bytes) -> list[Part]:
        """Take in more of the body and return the parts that are whole now; call it in a thread.

        Raises:
            BodyError: This is no multipart body, or it has too many parts.
            OSError: The disk is full.
        """
        if self._parser is None:
            self._head += data
            self._parser = self._begin()
            if self._parser is None:
                return []
            data, self._head = self._head, b""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BodyError("expected boundaries and part headers as in RFC 2046; the body breaks them") from error
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            BodyError: The closing boundary has not come: the body was cut.
        """
        if not self._ended:
            raise BodyError("expected the closing boundary; the body was cut" if self._parser else _NOT_MULTIPART)

    def close(self) -> None:
        """Free what was not handed out."""
        for part in self._ready:
            part.spool.close()
        if self._spool is not None:
            self._spool.close()

    def _begin(self) -> MultipartParser | None:
        """Skip what comes before the first boundary (RFC 2046, 5.1.1), once that is there."""
        found = self._find_boundary()
        if found is None:
            if len(self._head) > _HEAD_LIMIT_BYTES:
                raise BodyError(_NOT_MULTIPART)
            return None
        start, boundary = found
        self._head = self._head[start:]
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def _find_boundary(self) -> tuple[int, bytes] | None:
        if self._boundary is not None:
            if len(self._boundary) > _BOUNDARY_LIMIT_BYTES:
                raise BodyError(f"expected a boundary of at most {_BOUNDARY_LIMIT_BYTES} bytes")
            delimiter = b"--" + self._boundary
            if self._head.startswith(delimiter):
                return 0, self._boundary
            at = self._head.find(b"\n" + delimiter)
            return None if at < 0 else (at + 1, self._boundary)
        start = len(self._head) - len(self._head.lstrip(b"\r\n"))
        line, end, _ = self._head[start:].partition(b"\r\n")
        if not end and len(line) <= _BOUNDARY_LIMIT_BYTES:
            return None
        boundary = line.removeprefix(b"--").rstrip()
        if not line.startswith(b"--") or not boundary or len(boundary) > _BOUNDARY_LIMIT_BYTES:
            raise BodyError("expected a boundary parameter in Content-Type, or a body that begins with one")
        return start, boundary

    def _on_part_begin(self) -> None:
        self._part_count += 1
        if self._part_count > self._part_limit:
            raise BodyTooLargeError(f"expected at most {self._part_limit} parts in one request")
        self._headers = {}
        self._spool = self._new_spool()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._spool is not None:
            self._spool.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        if self._spool is not None:
            self._ready.append(Part(_part_name(self._headers, self._part_count), self._spool))
            self._spool = None

    def _on_end(self) -> None:
        self._ended = True


def _part_name(headers: dict[bytes, bytes], number: int) -> str:
    """Return the name by which an answer speaks of a part: field name, file name, else its number."""
    _, options = parse_options_header(headers.get(b"content-disposition", b""))
    name = options.get(b"name") or options.get(b"filename") or b""
    return name.decode("utf-8", "replace")[:_NAME_LIMIT_CHARACTERS] or f"part{number - 1}"
