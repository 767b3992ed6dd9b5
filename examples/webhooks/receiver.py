"""Print what radbus tells, once each. WEBHOOK_SECRET is what `radbus webhooks add` printed."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

ADDRESS = ("127.0.0.1", int(os.environ.get("PORT", "8090")))
LIMIT_BYTES = 1_000_000
webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen: set[str] = set()  # a real receiver keeps it, as long as it keeps what it makes of an event


class Receiver(BaseHTTPRequestHandler):
    """Takes one event a call; says 204 as soon as it is safe, and works later."""

    timeout = 10

    def do_POST(self) -> None:
        """Check who calls, then whether this is new."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), LIMIT_BYTES))
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_error(401)
            return
        if event["id"] not in seen:
            seen.add(event["id"])
            print(event["type"], event["subject"], event["data"], flush=True)
        self.send_response(204)
        self.end_headers()


with ThreadingHTTPServer(ADDRESS, Receiver) as server:
    print("listening", flush=True)
    server.serve_forever()
