"""A receiver of webhooks for tests: on loopback, does as it is told, and keeps what it was sent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from standardwebhooks import Webhook

from radbus_testing.loopback import LoopbackServer

_CALLS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came."""

    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer, and after how long."""

    status: int = 204
    after_s: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()


class WebhookReceiver(LoopbackServer):
    """Answers each call as `reply` says; what was called is in `calls`."""

    def __init__(self, reply: Callable[[Call], Reply] = lambda _: Reply()) -> None:
        self.reply = reply
        self.calls: deque[Call] = deque(maxlen=_CALLS_KEPT)
        self.connections = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """Takes one event a call."""

            protocol_version = "HTTP/1.1"
            timeout = 60

            def setup(self) -> None:
                """Count a connection."""
                receiver.connections += 1
                super().setup()

            def do_POST(self) -> None:
                """Keep the call and answer it."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                call = Call(body, {name.lower(): value for name, value in self.headers.items()})
                receiver.calls.append(call)
                reply = receiver.reply(call)
                time.sleep(reply.after_s)
                self.send_response(reply.status)
                for name, value in (*reply.headers, ("Content-Length", "0")):
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(Handler)

    @property
    def url(self) -> str:
        """Where it is called."""
        return f"{super().url}/radbus"

    def events(self, secret: str) -> list[dict[str, object]]:
        """Return the events of all calls, each checked as a receiver does.

        Raises:
            WebhookVerificationError: One was signed by somebody else, or long ago.
        """
        check = Webhook(secret)
        return [check.verify(call.body, call.headers) for call in list(self.calls)]
