"""A small identity provider on loopback, whose keys and tokens are real."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from radbus_runtime.auth.key_fetching import fetch_keys
from radbus_runtime.auth.oidc import IdentityProvider
from radbus_runtime.auth.provider_keys import ProviderKeys
from radbus_runtime.settings import OidcSettings


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    kind = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **more}


@dataclass
class Site:
    """An identity provider, radbus as it knows it, and the time that radbus sees."""

    issuer: str
    pages: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    now: float = 0.0

    def serve(self, *keys: dict[str, Any], issuer: str | None = None) -> None:
        self.pages["/.well-known/openid-configuration"] = {
            "issuer": issuer or self.issuer,
            "jwks_uri": f"{self.issuer}/keys",
        }
        self.pages["/keys"] = {"keys": keys}

    def radbus(self, **own: Any) -> IdentityProvider:
        given = {
            "issuer": self.issuer,
            "audience": "radbus",
            "jwks_url": None,
            "institution_claim": "institution",
            "scopes_claim": "scope",
            "algorithms": ("RS256", "PS256", "ES256"),
        }
        settings = OidcSettings(**{**given, **own})
        return IdentityProvider(settings, ProviderKeys(partial(fetch_keys, settings), clock=lambda: self.now))

    def token(self, key: Any, kid: str | None = "first", algorithm: str = "RS256", **claims: Any) -> str:
        given = {
            "iss": self.issuer,
            "aud": ["radbus", "account"],
            "sub": "f3a1",
            "exp": datetime.now(UTC) + timedelta(minutes=5),
            "institution": "north",
            "scope": "openid radbus:read store",
        }
        whole = {name: value for name, value in {**given, **claims}.items() if value is not None}
        return jwt.encode(whole, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


@contextmanager
def identity_provider() -> Iterator[Site]:
    """Serve an identity provider on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            page = made.pages.get(self.path)
            body = page if isinstance(page, bytes) else json.dumps(page).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
