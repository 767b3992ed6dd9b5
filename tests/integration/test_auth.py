"""Tokens and users as an operator keeps them, on a real database, and what a service makes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from radbus_cli.__main__ import app
from radbus_contracts.errors import RadbusError
from radbus_contracts.identity import model_id
from radbus_runtime.auth.last_use import LastUse
from radbus_runtime.auth.tokens import create_token, digest
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_testing.programs import service_running, settings_of
from radbus_testing.waiting import until
from typer.testing import CliRunner

from tests.integration.identity_provider import Site, identity_provider, jwk

pytestmark = pytest.mark.stack

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
LOGIN = "/api/auth/jwt_login/"
LUNG_CT = model_id("qct", "lung-ct")


@dataclass
class Service:
    """The results service, its identity provider, and the operator's command."""

    url: str
    provider: Site
    environment: dict[str, str]

    def status(self, token: str, **headers: str) -> int:
        given = {"Authorization": f"Bearer {token}", **headers}
        return httpx2.get(f"{self.url}/inferences", headers=given, timeout=10).status_code

    def login(self, **claims: Any) -> httpx2.Response:
        exp = datetime.now(UTC) + timedelta(minutes=1)
        signed = jwt.encode({"iss": "a client", "exp": exp, **claims}, KEY, algorithm="RS256")
        return httpx2.post(f"{self.url}{LOGIN}", json={"jwt": signed}, timeout=10)

    def radbus(self, *arguments: str, stdin: str = "", status: int = 0) -> str:
        done = CliRunner().invoke(app, arguments, env=self.environment, input=stdin)
        assert done.exit_code == status, (done.output, done.exception)
        assert status == 0 or isinstance(done.exception, RadbusError)
        return (str(done.exception) if status else done.stdout).strip()

    def tokens(self, institution: str) -> list[dict[str, Any]]:
        return json.loads(self.radbus("tokens", "list", "--institution", institution, "--json"))


@pytest.fixture(scope="module")
def service(stack, tmp_path_factory) -> Iterator[Service]:
    with identity_provider() as provider:
        provider.serve(jwk(KEY, "first"))
        oidc = {"RADBUS_OIDC_ISSUER": provider.issuer, "RADBUS_OIDC_AUDIENCE": "radbus"}
        log = tmp_path_factory.mktemp("auth") / "results.log"
        environment = {**stack.environment(), **oidc}
        with service_running("results", environment, port=stack.layout.port("results"), log=log) as url:
            yield Service(url, provider, stack.environment())


@pytest.fixture
def public_key(tmp_path) -> str:
    file = tmp_path / "key.pem"
    file.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(file)


@pytest.fixture
async def documents(stack):
    made = Documents(settings_of(stack.environment()).documents)
    yield made
    made.close()


def test_a_token_may_do_what_it_was_given_and_its_list_never_shows_it(service, institution):
    made = json.loads(
        service.radbus(
            *("tokens", "create", institution, "--name", "pacs", "--scope", "read", "--scope", "store"),
            *("--source", "ward", "--model", LUNG_CT, "--days", "3", "--rate-limit", "2/hour", "--json"),
        )
    )
    scanner = service.radbus("tokens", "create", institution, "--name", "scanner", "--scope", "store")

    statuses = [service.status(made["token"], Source=source) for source in ("theatre", "ward", "ward")]
    listed = service.tokens(institution)

    assert statuses == [403, 200, 429]
    assert service.status(scanner) == 403
    assert [each["name"] for each in listed] == ["pacs", "scanner"]
    days = datetime.fromisoformat(listed[0]["expires"]) - datetime.fromisoformat(listed[0]["created"])
    assert (listed[0]["id"], days) == (made["id"], timedelta(days=3))
    assert (listed[0]["scopes"], listed[0]["models"]) == (["read", "store"], [LUNG_CT])
    assert (listed[1]["expires"], listed[1]["rate_limit"]) == (None, None)
    shown = str(listed) + service.radbus("tokens", "list")
    assert all(secret not in shown for secret in (made["token"], scanner, digest(scanner)))


def test_a_rotated_token_is_good_for_its_time_of_grace_and_a_revoked_one_no_longer(service, institution):
    old = json.loads(service.radbus("tokens", "create", institution, "--name", "pacs", "--scope", "read", "--json"))

    kind = service.radbus("tokens", "rotate", old["id"])
    while_old_is_good = service.status(old["token"])
    hard = json.loads(service.radbus("tokens", "rotate", old["id"], "--grace-hours", "0", "--json"))
    listed = service.tokens(institution)
    service.radbus("tokens", "revoke", hard["id"])

    assert while_old_is_good == 200
    assert [service.status(token) for token in (old["token"], kind, hard["token"])] == [401, 200, 401]
    assert [(each["name"], each["scopes"]) for each in listed] == [("pacs", ["read"])] * 3
    assert len(service.tokens(institution)) == 2
    service.radbus("tokens", "revoke", hard["id"], status=1)
    service.radbus("tokens", "rotate", old["id"], status=1)
    service.radbus("tokens", "revoke", "0" * 11, status=1)


def test_a_secret_that_a_site_has_becomes_a_token_and_is_not_printed(service, institution):
    secret = f"gateway.secret.{institution}"

    printed = service.radbus("tokens", "create", institution, "--from-stdin", "--scope", "read", stdin=f"{secret}\n")
    refused = service.radbus("tokens", "create", institution, "--from-stdin", stdin="short", status=1)

    assert printed == digest(secret)[:12]
    assert service.status(secret) == 200
    assert "16" in refused


async def test_the_last_use_of_a_token_is_kept_at_most_once_a_minute(service, documents, institution):
    tokens = documents[records.TOKENS]
    token = await create_token(tokens, institution=institution, name="pacs")

    async def last_use() -> datetime | None:
        return (await tokens.find_one({"_id": digest(token)}))["last_used_at"]

    assert await last_use() is None
    assert service.status(token) == 200
    first = await until(last_use, timeout_s=10, what="last use")
    assert service.status(token) == 200
    assert await last_use() == first
    assert (await asyncio.to_thread(service.tokens, institution))[0]["last_used"] == first.isoformat(timespec="seconds")


async def test_replicas_that_know_of_no_use_yet_note_it_once(documents, institution):
    tokens = documents[records.TOKENS]
    token = await create_token(tokens, institution=institution, name="pacs")
    unused = await tokens.find_one({"_id": digest(token)})
    uses = []

    for replica in (LastUse(tokens), LastUse(tokens)):
        replica.note(unused)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        uses.append((await tokens.find_one({"_id": digest(token)}))["last_used_at"])

    assert uses[0] is not None
    assert uses[1] == uses[0]


def test_a_user_logs_in_with_a_key_and_is_out_at_once_when_removed(service, institution, public_key):
    name = f"ann@{institution}"
    service.radbus("users", "add", name, "--institution", institution, "--public-key", public_key, "--scope", "read")

    answer = service.login(username=name)
    access = answer.json()["token"]
    before = service.status(access)
    listed = json.loads(service.radbus("users", "list", "--institution", institution, "--json"))
    service.radbus("users", "remove", name)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert jwt.decode(access, options={"verify_signature": False})["exp"] > datetime.now(UTC).timestamp()
    assert [(each["name"], each["scopes"]) for each in listed] == [(name, ["read"])]
    assert (before, service.status(access)) == (200, 401)
    gone = service.login(username=name)
    assert (gone.status_code, list(gone.json())) == (401, ["detail"])
    service.radbus("users", "remove", name, status=1)


def test_a_user_is_registered_once_and_only_with_a_public_key(service, institution, public_key, tmp_path):
    add = ("users", "add", f"ann@{institution}", "--institution", institution, "--public-key")
    no_key = tmp_path / "no-key.pem"
    no_key.write_text("nothing")

    service.radbus(*add, public_key, "--issuer", "a client")
    again = service.radbus(*add, public_key, status=1)
    refused = service.radbus(*add, str(no_key), status=1)

    assert "no user has" in again
    assert "2048" in refused
    assert service.login(username=f"ann@{institution}").status_code == 200
    assert service.login(username=f"ann@{institution}", iss="another").status_code == 403


def test_a_bearer_token_of_the_sites_identity_provider_is_taken(service, institution):
    right = service.provider.token(KEY, institution=institution, scope="read")
    without_scope = service.provider.token(KEY, institution=institution, scope="openid")

    assert service.status(right) == 200
    assert service.status(without_scope) == 403
    assert service.status(service.provider.token(KEY, aud="others")) == 401
