"""Bearer tokens of an identity provider that serves its keys over HTTP, as a real one does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from radbus_runtime.auth.principal import AccessScope, ForbiddenError, UnauthenticatedError
from radbus_runtime.auth.provider_keys import FETCH_EVERY_S, ProviderAwayError

from tests.integration.identity_provider import Site, identity_provider, jwk

RSA_KEY, NEXT_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC_KEY = ec.generate_private_key(ec.SECP256R1())
WEAK_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)


@pytest.fixture
def site() -> Iterator[Site]:
    with identity_provider() as site:
        site.serve(jwk(RSA_KEY, "first"))
        yield site


async def test_institution_and_scopes_are_those_of_the_claims_and_the_keys_are_asked_for_once(site):
    radbus = site.radbus()

    principals = [await radbus.principal_of(site.token(RSA_KEY)) for _ in range(3)]

    assert {(each.institution, each.name) for each in principals} == {("north", "f3a1")}
    assert principals[0].scopes == {AccessScope.STORE, AccessScope.READ}
    assert site.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": ["read", "radbus:compute"]}, {"read", "compute"}),
        ({"scope": "admin radbus:everything"}, set()),
        ({"scope": None}, set()),
        ({"scope": {"read": True}}, set()),
    ],
)
async def test_scopes_are_a_text_or_a_list_and_none_unless_they_are_named(site, claims, scopes):
    principal = await site.radbus().principal_of(site.token(RSA_KEY, **claims))

    assert {scope.value for scope in principal.scopes} == scopes


async def test_a_site_names_its_own_claims_and_the_address_of_its_keys(site):
    site.pages = {"/elsewhere": {"keys": [jwk(EC_KEY, "curve", alg="ES256")]}}
    radbus = site.radbus(jwks_url=f"{site.issuer}/elsewhere", institution_claim="tenant", scopes_claim="roles")
    token = site.token(EC_KEY, "curve", "ES256", tenant="south", roles=["compute"])

    principal = await radbus.principal_of(token)

    assert (principal.institution, principal.scopes) == ("south", {AccessScope.COMPUTE})


async def test_a_key_without_an_algorithm_checks_each_that_its_type_can_do(site):
    principal = await site.radbus().principal_of(site.token(RSA_KEY, algorithm="PS256"))

    assert principal.institution == "north"


def _signed_with_the_public_key(site: Site) -> str:
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hs256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    head, payload, _ = site.token("x" * 32, algorithm="HS256").split(".")
    signature = jwt.utils.base64url_encode(hs256.sign(f"{head}.{payload}".encode(), public)).decode()
    return f"{head}.{payload}.{signature}"


def _changed(token: str) -> str:
    head, payload, signature = token.split(".")
    claims = json.loads(jwt.utils.base64url_decode(payload)) | {"institution": "south"}
    return f"{head}.{jwt.utils.base64url_encode(json.dumps(claims).encode()).decode()}.{signature}"


FORGERIES: dict[str, Callable[[Site], str]] = {
    "for others": lambda site: site.token(RSA_KEY, aud="others"),
    "for nobody": lambda site: site.token(RSA_KEY, aud=None),
    "of another issuer": lambda site: site.token(RSA_KEY, iss="https://evil.example"),
    "expired": lambda site: site.token(RSA_KEY, exp=datetime.now(UTC) - timedelta(minutes=1)),
    "not yet valid": lambda site: site.token(RSA_KEY, nbf=datetime.now(UTC) + timedelta(minutes=1)),
    "endless": lambda site: site.token(RSA_KEY, exp=None),
    "of nobody": lambda site: site.token(RSA_KEY, sub=None),
    "of no key": lambda site: site.token(RSA_KEY, kid=None),
    "of an unknown key": lambda site: site.token(RSA_KEY, kid="never"),
    "signed with another key": lambda site: site.token(NEXT_KEY),
    "unsigned": lambda site: site.token(None, algorithm="none"),
    "signed with the public key as a secret": _signed_with_the_public_key,
    "of an algorithm that is not allowed": lambda site: site.token(RSA_KEY, algorithm="RS512"),
    "of a type that the key is not": lambda site: site.token(EC_KEY, algorithm="ES256"),
    "of a weak key": lambda site: site.token(WEAK_KEY, kid="weak"),
    "of a key for encryption": lambda site: site.token(NEXT_KEY, kid="encryption"),
    "of a secret in the key set": lambda site: site.token("x" * 32, kid="secret", algorithm="HS256"),
    "changed": lambda site: _changed(site.token(RSA_KEY)),
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_a_bearer_token_that_is_not_right_in_every_way_is_refused(site, forge):
    secret = {"kty": "oct", "k": "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg", "kid": "secret"}
    site.serve(jwk(RSA_KEY, "first"), jwk(WEAK_KEY, "weak"), jwk(NEXT_KEY, "encryption", use="enc"), secret)

    with pytest.raises(UnauthenticatedError, match="Invalid token"):
        await site.radbus().principal_of(forge(site))


@pytest.mark.parametrize("institution", [None, "", "../north", "a b", ["north"], "x" * 65])
async def test_a_bearer_token_without_a_valid_institution_may_do_nothing(site, institution):
    with pytest.raises(ForbiddenError):
        await site.radbus().principal_of(site.token(RSA_KEY, institution=institution))


async def test_a_new_key_is_taken_and_an_old_one_is_not_once_the_provider_has_changed_them(site):
    radbus = site.radbus()
    await radbus.principal_of(site.token(RSA_KEY))
    site.serve(jwk(NEXT_KEY, "next"))

    with pytest.raises(UnauthenticatedError):
        await radbus.principal_of(site.token(NEXT_KEY, "next"))
    site.now += FETCH_EVERY_S
    principal = await radbus.principal_of(site.token(NEXT_KEY, "next"))

    assert principal.institution == "north"
    with pytest.raises(UnauthenticatedError):
        await radbus.principal_of(site.token(RSA_KEY))


async def test_known_keys_go_on_being_used_while_the_provider_is_away(site):
    radbus = site.radbus()
    await radbus.principal_of(site.token(RSA_KEY))
    site.pages.clear()
    site.now += 3600

    principal = await radbus.principal_of(site.token(RSA_KEY))

    assert principal.institution == "north"
    with pytest.raises(ProviderAwayError):
        await radbus.principal_of(site.token(NEXT_KEY, "next"))


BAD_PAGES: dict[str, Any] = {
    "no JSON": b"<html>",
    "deep JSON": b"[" * 100_000,
    "another form": {"keys": "none"},
    "no keys": {"keys": []},
    "keys that are none": {"keys": [{"kid": "first"}, {"kid": "x", "kty": "RSA", "n": 5}, {"kty": "EC", "kid": "y"}]},
    "no kid": {"keys": [{**jwk(RSA_KEY, "first"), "kid": None}]},
    "too much": b" " * 600_000,
}


@pytest.mark.parametrize("page", BAD_PAGES.values(), ids=BAD_PAGES)
async def test_a_provider_that_answers_no_keys_counts_as_away(site, page):
    site.pages["/keys"] = page

    with pytest.raises(ProviderAwayError):
        await site.radbus().principal_of(site.token(RSA_KEY))


async def test_a_provider_that_says_it_is_another_counts_as_away(site):
    site.serve(jwk(RSA_KEY, "first"), issuer="https://another.example")

    with pytest.raises(ProviderAwayError):
        await site.radbus().principal_of(site.token(RSA_KEY))


async def test_a_provider_that_is_not_there_counts_as_away(site):
    with pytest.raises(ProviderAwayError):
        await site.radbus(jwks_url="http://127.0.0.1:1/keys").principal_of(site.token(RSA_KEY))
