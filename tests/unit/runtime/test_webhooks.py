"""Webhooks: what each wants, where it may be, and how it knows that radbus calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from radbus_contracts.facts import TriageStatus
from radbus_runtime.webhooks.signing import WebhookKeys
from radbus_runtime.webhooks.subscriptions import Webhook, WebhookError, check_url
from standardwebhooks import Webhook as Receiver
from standardwebhooks import WebhookVerificationError

COMPLETED, FAILED, UNROUTED = (
    "radbus.inference.completed.v1",
    "radbus.inference.failed.v1",
    "radbus.series.unrouted.v1",
)
KEYS = WebhookKeys(b"a key of these tests")
BODY = '{"id": "e-1"}'


def webhook(**changes: object) -> Webhook:
    given = {"id": "w", "institution": "h", "url": "https://ris.example/", "created_at": datetime.now(UTC)}
    return Webhook(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("event_type", [COMPLETED, FAILED, UNROUTED])
def test_without_a_choice_a_webhook_wants_whatever_there_is(event_type):
    assert webhook().wants(event_type, use_case=None, triage=None)


def test_a_webhook_never_wants_what_webhooks_are_not_told():
    assert not webhook().wants("radbus.task.started.v1", use_case="qct", triage=None)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"types": (FAILED,)}, False),
        ({"types": (FAILED, COMPLETED)}, True),
        ({"use_cases": ("qer",)}, False),
        ({"use_cases": ("qer", "qct")}, True),
        ({"triage": TriageStatus.ROUTINE}, False),
        ({"triage": TriageStatus.CRITICAL}, True),
        ({"triage": TriageStatus.CRITICAL, "use_cases": ("qer",)}, False),
    ],
)
def test_a_choice_is_made_of_all_that_was_given(choice, wanted):
    chosen = webhook(**choice)

    assert chosen.wants(COMPLETED, use_case="qct", triage=TriageStatus.CRITICAL) is wanted


def test_what_an_event_does_not_have_it_cannot_be_chosen_by():
    assert not webhook(use_cases=("qct",)).wants(UNROUTED, use_case=None, triage=None)
    assert not webhook(triage=TriageStatus.CRITICAL).wants(FAILED, use_case="qct", triage=None)


@pytest.mark.parametrize("url", ["https://ris.example/hook", "http://10.0.0.7:8080/", "https://[::1]/x?key=1"])
def test_an_address_of_a_receiver_is_taken(url):
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ris.example/hook",
        "ftp://ris.example/",
        "file:///etc/passwd",
        "https:///hook",
        "https://user:secret@ris.example/",
        "https://ris.example/#part",
        "https://ris.example:99999/",
        "https://ris.example/\nX-Header: 1",
        "https://ris.exämple/",
        "https://ris.example/" + "a" * 3000,
    ],
)
def test_another_address_is_refused_with_what_was_expected(url):
    with pytest.raises(WebhookError, match="expected an address"):
        check_url(url)


def test_a_call_is_checked_by_the_library_of_the_standard():
    headers = KEYS.headers("w", "e-1", datetime.now(UTC), BODY)

    assert Receiver(KEYS.secret_of("w")).verify(BODY, headers) == {"id": "e-1"}


def test_a_signature_is_what_the_standard_says():
    # HMAC-SHA256 over id.timestamp.body, by `openssl dgst -sha256 -hmac`.
    at = datetime.fromtimestamp(1614265330, UTC)

    headers = KEYS.headers("w", "msg_1", at, '{"test": 2432232314}')

    assert KEYS.secret_of("w") == "whsec_fp8BN448tfTHm5eAv6pFSoIej4FEUEHWjGg676w9jtk="
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,S/4FRKtMYTyc0H2U0/RlbrQcthanSycnsqGq30q1Tx8=",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"body": BODY.replace("1", "2")},
        {"message_id": "e-2"},
        {"webhook_id": "another"},
        {"at": datetime.now(UTC) - timedelta(minutes=6)},
        {"keys": WebhookKeys(b"another key of tests")},
    ],
)
def test_a_receiver_refuses_what_is_not_as_it_was_signed(change):
    given = {"webhook_id": "w", "message_id": "e-1", "at": datetime.now(UTC), "body": BODY, "keys": KEYS} | change
    headers = given.pop("keys").headers(**given) | {"webhook-id": "e-1"}

    with pytest.raises(WebhookVerificationError):
        Receiver(KEYS.secret_of("w")).verify(BODY, headers)


def test_the_key_is_not_in_what_is_printed_of_it():
    assert "tests" not in repr(KEYS)
