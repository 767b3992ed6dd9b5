"""HTTP/1.1 with patience: uvicorn waits for ever for a request's head, however long, and for what follows a refusal."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from radbus_runtime import metrics

HEAD_LIMIT_BYTES: Final = 256 * 1024  # twice what nginx lets through
CONNECTIONS_LIMIT: Final = 800  # below the 1024 files that a process may usually have open: its own need some, too
_MALFORMED: Final = "Expected a whole and well-formed HTTP request in time."
_TOO_LARGE: Final = f"Expected a request line and headers of at most {HEAD_LIMIT_BYTES} bytes."


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection: a request's head has to come whole in `head_s`, and so has the rest of an answered request."""

    def __init__(self, *args: Any, head_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_s = head_s
        self._head_bytes = 0
        self._awaits_head = True
        self._is_refused = False
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request; beyond the limit of connections, close."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_LIMIT:
            metrics.connections_refused.inc()
            transport.close()
            return
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and be patient only while they are a body that somebody reads."""
        if self._is_refused:
            return
        if self._patience is None and (self._awaits_head or self._is_answered):
            self._be_patient()
        super().data_received(data)
        if self._awaits_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Begin with a request, unless its head is too large."""
        if self._is_refused:
            return
        size_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size_bytes > HEAD_LIMIT_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)
            return
        self._awaits_head, self._head_bytes = False, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on what belongs to a request that was begun."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count the next head."""
        if self._is_refused:
            return
        self._awaits_head = True
        self._stop_waiting()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the words that all services have for it."""
        del msg
        if not self._is_refused:
            self._refuse(HTTPStatus.BAD_REQUEST, _MALFORMED)

    @property
    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _be_patient(self) -> None:
        self._patience = self.loop.call_later(self._head_s, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self._awaits_head and self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, _MALFORMED)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._is_refused = True
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = json.dumps({"success": False, "message": message}).encode()
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        # Else the refusal would stand in the middle of an answer.
        if self.cycle is not None:
            self.cycle.disconnected = True
        self.transport.close()
