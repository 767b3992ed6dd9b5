"""Users of the inference API: a key pair of their own, registered by the operator's command."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from radbus_cli.local.stack import LocalStack

from tests.contract.wire import ask

LOGIN: Final = "/api/auth/jwt_login/"
_RADBUS: Final = Path(sys.executable).parent / "radbus"


def history(model: str, mrn: str) -> str:
    """Return the path of a patient's inferences by a model."""
    return f"/api/models/{quote(model, safe='')}/patients/{quote(mrn, safe='')}/inferences/"


@dataclass(frozen=True, slots=True)
class User:
    """One user, with the private key that nobody else has."""

    stack: LocalStack
    name: str
    key: rsa.RSAPrivateKey

    def claims(self, *, lifetime: timedelta = timedelta(minutes=5), **changed: Any) -> dict[str, Any]:
        """Return the claims of a login; None takes one away."""
        whole = {"iss": self.name, "username": self.name, "exp": datetime.now(UTC) + lifetime, **changed}
        return {name: value for name, value in whole.items() if value is not None}

    def signed(self, **changed: Any) -> str:
        """Sign a login."""
        return jwt.encode(self.claims(**changed), self.key, algorithm="RS256")

    def access_token(self) -> str:
        """Log in."""
        body = json.dumps({"jwt": self.signed()}).encode()
        answer = ask(self.stack, "POST", LOGIN, headers={"Content-Type": "application/json"}, body=body)
        assert answer.status == 200, answer
        return answer.json()["token"]


def register(stack: LocalStack, folder: Path, name: str, institution: str, models: tuple[str, ...] = ()) -> User:
    """Make a key pair and register the public half, as an operator does."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = folder / f"{name}.pem"
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    given = [part for model in models for part in ("--model", model)]
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "RADBUS_STACK_ROOT": str(stack.layout.root),
        "RADBUS_STACK_BASE_PORT": str(stack.layout.base_port),
    }
    done = subprocess.run(
        [str(_RADBUS), "users", "add", name, "--institution", institution, "--public-key", str(public), *given],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return User(stack, name, key)
