"""How callers are known: tokens, users' own keys, and how often they may ask."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fastapi import APIRouter, Depends
from fastapi.testclient import TestClient
from radbus_contracts.errors import PermanentError
from radbus_runtime.audit.codes import READ
from radbus_runtime.auth.authenticator import Authenticator
from radbus_runtime.auth.keeping import UserError, add_user
from radbus_runtime.auth.login import login_routes
from radbus_runtime.auth.principal import AccessScope, UnauthenticatedError
from radbus_runtime.auth.rate_limits import RateLimitFormError, parse_rate_limit
from radbus_runtime.auth.tokens import SecretError, Tokens, create_token, digest
from radbus_runtime.dialects import DetailRoute, InnerEyeRoute
from radbus_runtime.http import create_api
from radbus_runtime.settings import ServiceSettings, SettingsError, load
from radbus_storage.errors import StoreUnavailableError

from tests.unit.runtime.memory import Records

ACCESS_KEY = "an access key that is long enough"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ANOTHERS_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
DISTANT = datetime(2100, 1, 1, tzinfo=UTC)
CLAIMS = {"iss": "hospital", "exp": DISTANT, "username": "ann"}
LOGIN = "/api/auth/jwt_login/"
NO_CREDENTIALS = {"message": "Invalid token header. No credentials provided.", "authenticated": False}
INVALID = {"message": "Invalid token.", "authenticated": False}


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def user(**own: Any) -> dict[str, Any]:
    known = {"_id": "ann", "institution": "north", "public_key": pem(KEY).decode(), "issuer": None}
    return {**known, "scopes": ["read"], "models": [], "rate_limit": None, **own}


def token(secret: str, **own: Any) -> dict[str, Any]:
    known = {"_id": digest(secret), "institution": "north", "name": "ct", "sources": [], "scopes": ["read"]}
    return {**known, "models": [], "rate_limit": None, "expires_at": None, "last_used_at": None, **own}


@pytest.fixture
def make_client(make_settings) -> Callable[..., TestClient]:
    """Make a service that has a login and a route of each contract, with these tokens and users."""

    def make(*known: dict[str, Any], access_key: str | None = ACCESS_KEY, **settings: Any) -> TestClient:
        tokens = [record for record in known if "name" in record]
        users = [record for record in known if "public_key" in record]
        documents: Any = {"tokens": Records(*tokens), "users": Records(*users)}
        made = make_settings(access_key=access_key, **settings)
        authenticator = Authenticator(documents, made)
        caller = Depends(authenticator.requires(AccessScope.READ, READ))
        by_secret = Depends(authenticator.requires_secret(AccessScope.READ, READ))
        api = create_api("test", description="")
        inner_eye, inference = APIRouter(route_class=InnerEyeRoute), APIRouter(route_class=DetailRoute)
        api.add_api_route("/results", lambda who=caller: who.name)
        inner_eye.add_api_route("/v1", lambda _=by_secret: None)
        inference.add_api_route("/api", lambda _=caller: None)
        for router in (inner_eye, inference, login_routes(documents, made)):
            api.include_router(router)
        return TestClient(api, raise_server_exceptions=False)

    return make


def signed(claims: dict[str, Any] | None = None, *, key: Any = KEY, algorithm: str = "RS256") -> str:
    return jwt.encode(claims or CLAIMS, key, algorithm=algorithm)


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def hand_made(header: object, payload: object, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_a_user_gets_an_access_token_that_says_when_it_ends_and_is_taken(make_client):
    client = make_client(user())

    given = client.post(LOGIN, json={"jwt": signed()})
    answer = client.get("/results", headers=bearer(given.json()["token"]))

    claims = jwt.decode(given.json()["token"], options={"verify_signature": False})
    assert (given.status_code, list(given.json())) == (200, ["token"])
    assert given.headers["content-type"] == "application/json"
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("radbus", "ann", 3600)
    assert (answer.status_code, answer.json()) == (200, "ann")


NOT_LOGINS = {
    "of nobody": signed({**CLAIMS, "username": "bob"}),
    "of another's key": signed(key=ANOTHERS_KEY),
    "unsigned": jwt.encode({**CLAIMS, "exp": 4102444800}, None, algorithm="none"),
    "signed with the public key as a secret": hand_made(
        {"alg": "HS256"},
        {**CLAIMS, "exp": 4102444800},
        jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(b"x", pem(KEY)),
    ),
    "of another algorithm": signed(algorithm="PS256"),
    "expired": signed({**CLAIMS, "exp": datetime(2020, 1, 1, tzinfo=UTC)}),
    "without iss": signed({"exp": DISTANT, "username": "ann"}),
    "without exp": signed({"iss": "hospital", "username": "ann"}),
    "without username": signed({"iss": "hospital", "exp": DISTANT}),
    "of a username that is none": signed({**CLAIMS, "username": {"$ne": ""}}),
    "of a strange exp": signed({**CLAIMS, "exp": float("inf")}),
    "deep": f"{'W1tb' * 3000}.{'W1tb' * 900}.AAAA",
    "no JWT": "no-jwt",
    "empty": "",
}


@pytest.mark.parametrize("given", NOT_LOGINS.values(), ids=NOT_LOGINS)
def test_what_lets_nobody_in_is_401_in_the_same_words_whatever_is_wrong_with_it(make_client, given):
    client = make_client(user())

    answer = client.post(LOGIN, json={"jwt": given})

    assert answer.status_code == 401
    assert answer.json() == {
        "detail": "Invalid JWT: expected RS256 by the registered key of its username, and the claims iss, exp and "
        "username."
    }


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"jwt": 5}', b"[" * 10_000, b'{"jwt": "\\ud800"}', b"\xff"])
def test_a_body_of_another_form_is_401_and_says_what_was_expected(make_client, body):
    answer = make_client(user()).post(LOGIN, content=body)

    assert answer.status_code == 401
    assert "expected the JSON" in answer.json()["detail"]


def test_a_body_too_large_for_a_jwt_is_413(make_client):
    answer = make_client(user()).post(LOGIN, json={"jwt": "x" * 20_000})

    assert answer.status_code == 413
    assert "17408 bytes" in answer.json()["detail"]


def test_a_user_with_an_issuer_may_not_log_in_from_another(make_client):
    client = make_client(user(issuer="hospital"))

    right = client.post(LOGIN, json={"jwt": signed()})
    wrong = client.post(LOGIN, json={"jwt": signed({**CLAIMS, "iss": "another"})})

    assert right.status_code == 200
    assert (wrong.status_code, wrong.json()) == (403, {"detail": "This user may not log in with a JWT of this issuer."})


def test_without_an_access_key_nobody_can_log_in_and_no_access_token_is_taken(make_client):
    client = make_client(user(), access_key=None)
    made_elsewhere = make_client(user()).post(LOGIN, json={"jwt": signed()}).json()["token"]

    answer = client.post(LOGIN, json={"jwt": signed()})

    assert (answer.status_code, list(answer.json())) == (503, ["detail"])
    assert "not configured" in answer.json()["detail"]
    assert client.get("/results", headers=bearer(made_elsewhere)).json() == INVALID


def test_an_access_token_ends_with_its_time_with_its_user_and_with_the_users_key(make_client):
    access = make_client(user()).post(LOGIN, json={"jwt": signed()}).json()["token"]
    claims = jwt.decode(access, options={"verify_signature": False})
    old = jwt.encode({**claims, "exp": claims["iat"] - 60}, ACCESS_KEY, algorithm="HS256")

    right = make_client(user()).get("/results", headers=bearer(access))
    expired = make_client(user()).get("/results", headers=bearer(old))
    removed = make_client().get("/results", headers=bearer(access))
    of_another_key = make_client(user(public_key=pem(ANOTHERS_KEY).decode())).get("/results", headers=bearer(access))

    assert right.status_code == 200
    assert [answer.json() for answer in (expired, removed, of_another_key)] == [INVALID] * 3


@pytest.mark.parametrize(
    "forged",
    [
        jwt.encode({"iss": "radbus", "sub": "ann", "exp": DISTANT, "key": "0" * 12}, "x" * 32, algorithm="HS256"),
        hand_made({"alg": "none"}, {"iss": "radbus", "sub": "ann", "exp": 4102444800, "key": "0" * 12}),
        signed({"iss": "radbus", "sub": "ann", "exp": DISTANT}),
        hand_made({"alg": "HS256", "b64": False, "crit": ["b64"]}, {}),
        hand_made([], {}),
        "a.b.c",
        "..",
    ],
)
def test_a_forged_access_token_is_401(make_client, forged):
    answer = make_client(user()).get("/results", headers=bearer(forged))

    assert (answer.status_code, answer.json()) == (401, INVALID)


@pytest.mark.parametrize("secret", ["gateway.secret.of-a-site", signed({"iss": "a site"})])
def test_a_secret_that_looks_like_a_jwt_is_looked_up_as_a_token(make_client, secret):
    client = make_client(token(secret))

    answer = client.get("/results", headers=bearer(secret))

    assert (answer.status_code, answer.json()) == (200, "ct")


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({}, 401, NO_CREDENTIALS),
        ({"Authorization": "Basic YTpi"}, 401, NO_CREDENTIALS),
        ({"Authorization": "Token "}, 401, NO_CREDENTIALS),
        ({"Authorization": "Token nobodys"}, 401, INVALID),
        ({"Authorization": "Token expired"}, 401, INVALID),
        ({"Authorization": "Token scanner"}, 403, {"success": False, "message": "Access denied!"}),
    ],
)
def test_what_is_refused_is_answered_in_the_words_of_the_contract(make_client, headers, status, body):
    expired = token("expired", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    client = make_client(expired, token("scanner", scopes=["store"]))

    answer = client.get("/results", headers=headers)

    assert (answer.status_code, answer.json()) == (status, body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"API_AUTH_SECRET": ""}, 401),
        ({"API_AUTH_SECRET": "wrong"}, 403),
        ({"API_AUTH_SECRET": "scanner"}, 403),
        ({"API_AUTH_SECRET": "right"}, 200),
        ({"Authorization": "Token wrong"}, 403),
        ({"Authorization": "Token right"}, 200),
    ],
)
def test_a_secret_in_the_header_of_inner_eye_is_any_token_with_the_scope(make_client, headers, status):
    client = make_client(token("right"), token("scanner", scopes=["store"]))

    answer = client.get("/v1", headers=headers)

    assert answer.status_code == status


def test_above_its_rate_a_caller_is_429_in_the_words_of_each_contract_and_others_are_not(make_client):
    client = make_client(token("often", rate_limit="1/hour"), token("other"))
    client.get("/results", headers=bearer("often"))

    answers = [client.get(path, headers=bearer("often")) for path in ("/results", "/api", "/v1")]

    waits = [int(answer.headers["retry-after"]) for answer in answers]
    assert [answer.status_code for answer in answers] == [429] * 3
    assert all(3590 <= wait_s <= 3600 for wait_s in waits)
    assert answers[0].json() == {
        "success": False,
        "message": f"Too many requests; please try again in {waits[0]} s.",
    }
    assert answers[1].json() == {"detail": f"Too many requests; please try again in {waits[1]} s."}
    assert answers[2].json() == {
        "code": "TOO_MANY_REQUESTS",
        "detail": "Too many requests. Please retry the request later.",
        "status": 429,
        "title": "TooManyRequests",
    }
    assert client.get("/results", headers=bearer("other")).status_code == 200


def test_without_a_rate_of_its_own_each_caller_has_the_rate_of_the_settings(make_client):
    client = make_client(token("one"), token("two"), user(), rate_limit="2 per hour")
    access = client.post(LOGIN, json={"jwt": signed()}).json()["token"]

    statuses = [
        [client.get("/results", headers=bearer(each)).status_code for _ in range(3)] for each in ("one", "two", access)
    ]

    assert statuses == [[200, 200, 429]] * 3


@pytest.mark.parametrize("text", ["", "5", "0/minute", "-1/minute", "1/second;2/minute", "many", "5/fortnight"])
def test_what_is_no_rate_limit_is_refused_with_an_example(text):
    with pytest.raises(RateLimitFormError, match="60000/minute"):
        parse_rate_limit(text)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("RADBUS_RATE_LIMIT", "often", "60000/minute"),
        ("RADBUS_ACCESS_KEY", "x" * 31, "32"),
        ("RADBUS_OIDC_ISSUER", "idp.example", "http"),
        ("RADBUS_OIDC_AUDIENCE", "", "expected the audience"),
        ("RADBUS_OIDC_ALGORITHMS", "RS256 HS256", "RS256"),
        ("RADBUS_OIDC_ALGORITHMS", "none", "RS256"),
    ],
)
def test_a_bad_setting_ends_the_start_and_is_named_without_its_value(monkeypatch, variable, value, expected):
    needed = ("AMQP_URL", "MONGO_URL", "S3_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY")
    for name in needed:
        monkeypatch.setenv(f"RADBUS_{name}", "unused")
    monkeypatch.setenv("RADBUS_OIDC_ISSUER", "https://idp.example")
    monkeypatch.setenv("RADBUS_OIDC_AUDIENCE", "radbus")
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as raised:
        load(ServiceSettings)

    assert f"{variable}: " in str(raised.value)
    assert expected in str(raised.value)
    assert "x" * 31 not in str(raised.value)


async def test_a_store_that_cannot_note_the_use_of_a_token_refuses_no_request_and_is_not_asked_at_each():
    records = Records(token("right"))
    records.failing = StoreUnavailableError("away")
    tokens = Tokens(records)  # type: ignore[arg-type]

    principals = [await tokens.principal_of("right") for _ in range(3)]
    await records.written.wait()

    assert {principal.institution for principal in principals} == {"north"}
    assert (records.reads, len(records.writes)) == (3, 1)


async def test_the_use_of_a_token_is_noted_only_where_it_was_not_in_the_last_minute():
    lately, before = datetime.now(UTC), datetime.now(UTC) - timedelta(minutes=2)
    records = Records(token("lately", last_used_at=lately), token("before", last_used_at=before))
    tokens = Tokens(records)  # type: ignore[arg-type]

    await tokens.principal_of("lately")
    await tokens.principal_of("before")
    await records.written.wait()

    [(where, change)] = records.writes
    assert where["_id"] == digest("before")
    assert change["$set"]["last_used_at"] >= lately


async def test_a_secret_that_a_site_has_becomes_a_token_of_which_only_the_digest_is_kept():
    records = Records()

    made = await create_token(records, institution="north", name="gateway", secret="a-gateway-secret")  # type: ignore[arg-type]
    principal = await Tokens(records).principal_of("a-gateway-secret")  # type: ignore[arg-type]

    assert made == "a-gateway-secret"
    assert (principal.name, principal.scopes) == ("gateway", frozenset(AccessScope))
    assert "a-gateway-secret" not in str(records.records)


@pytest.mark.parametrize(
    "secret", ["short", "", "fifteen-letters", "with space in it all", "Schlüssel-der-Klinik", "x" * 4097]
)
async def test_a_secret_that_cannot_stand_in_a_header_or_is_short_is_refused(secret):
    with pytest.raises(SecretError, match="16 to 4096"):
        await create_token(Records(), institution="north", name="t", secret=secret)  # type: ignore[arg-type]


async def test_a_secret_cannot_be_two_tokens():
    records = Records(token("a-gateway-secret"))

    with pytest.raises(SecretError, match="not a token already"):
        await create_token(records, institution="south", name="t", secret="a-gateway-secret")  # type: ignore[arg-type]


async def test_a_token_that_nobody_can_have_is_not_looked_for():
    records = Records()

    with pytest.raises(UnauthenticatedError):
        await Tokens(records).principal_of("x" * 5000)  # type: ignore[arg-type]

    assert records.reads == 0


WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
NO_KEYS = {
    "of 1024 bits": pem(WEAK),
    "on a curve": pem(ec.generate_private_key(ec.SECP256R1())),
    "private": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    "nothing": b"",
}


@pytest.mark.parametrize("key", NO_KEYS.values(), ids=NO_KEYS)
async def test_only_an_rsa_public_key_of_2048_bits_can_be_registered(key):
    users = Records()

    with pytest.raises(UserError, match="2048"):
        await add_user(users, name="ann", institution="north", public_key=key)  # type: ignore[arg-type]

    assert users.records == {}


@pytest.mark.parametrize(
    ("name", "institution"), [("", "north"), ("a b", "north"), ("ann", "a/b"), ("x" * 129, "north")]
)
async def test_a_user_has_a_name_and_an_institution_of_their_forms(name, institution):
    with pytest.raises(PermanentError, match="letters"):
        await add_user(Records(), name=name, institution=institution, public_key=pem(KEY))  # type: ignore[arg-type]
