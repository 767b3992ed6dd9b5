"""Dead letters of whatever kind: what is read from them, what goes back with them, and which are meant."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from radbus_cli.dead_letters import Wanted, read_letter, replayed_headers, replays_of
from radbus_cli.filters import DurationError, duration_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BY_THE_SERVICE = {
    "x-radbus-reason": "PermanentError: expected a revision",
    "x-radbus-retries": 4,
    "x-radbus-died-at": "2026-11-20T10:00:00+00:00",
    "x-radbus-queue": "q",
    "x-death": [{"queue": "radbus.retry.1s", "reason": "expired", "count": 1, "time": NOW}],
    "traceparent": "00-a-b-01",
}
BY_THE_BROKER = {"x-death": [{"queue": "q", "reason": "delivery_limit", "count": 1, "time": NOW}]}


def test_a_letter_of_the_service_tells_its_reason_its_tries_and_when_it_died():
    letter = read_letter("q", "m", b'{"type": "t", "subject": "s"}', BY_THE_SERVICE)

    assert (letter.id, letter.type, letter.subject, letter.reason) == ("m", "t", "s", BY_THE_SERVICE["x-radbus-reason"])
    assert (letter.attempts, letter.died_at) == (5, NOW - timedelta(hours=2))


def test_a_letter_of_the_broker_tells_that_it_was_never_settled():
    letter = read_letter("q", "m", b"{}", BY_THE_BROKER)

    assert "never settled" in letter.reason
    assert (letter.attempts, letter.died_at) == (11, NOW)


def test_without_a_message_id_the_events_own_or_its_bytes_name_it():
    assert read_letter("q", None, b'{"id": "e"}', {}).id == "e"
    assert read_letter("q", None, b"\xff", {}).id == read_letter("q", None, b"\xff", {}).id != "e"


plain = st.sampled_from([None, True, -1, 7, "", "5", 5000 * "9", "é", "\x00", b"\xff", NOW, "2026-11-20", "[", "[1]"])
values = plain | st.lists(plain, max_size=2) | st.dictionaries(st.sampled_from(["queue", "reason", "time"]), plain)
deep = values | st.lists(values, max_size=2)
names = st.sampled_from(["x-death", "x-radbus-reason", "x-radbus-retries", "x-radbus-died-at", "x-radbus-replays", "a"])


@given(
    body=st.sampled_from([b"", b"\xff", b"[" * 5000, b"[1]", b"3", b"1" * 9999, b'{"id": 3}', b'{"id": "\\ud800"}']),
    headers=st.dictionaries(names, deep),
)
def test_whatever_a_message_holds_it_can_be_read_and_replayed(body, headers):
    letter = read_letter("q", None, body, headers)
    back = replayed_headers(headers, by="me", at=NOW)

    json.dumps(letter.document(), ensure_ascii=False).encode()
    assert replays_of(back)[-1]["by"] == "me"


def test_a_replayed_message_begins_anew_and_takes_its_history_along():
    once = replayed_headers(BY_THE_SERVICE, by="me@here", at=NOW)
    twice = replayed_headers({**once, **BY_THE_BROKER}, by="you", at=NOW)

    assert set(once) == {"x-radbus-queue", "traceparent", "x-radbus-replays"}
    first, second = replays_of(twice)
    assert (first["at"], first["by"]) == (NOW.isoformat(), "me@here")
    assert first["x-radbus-reason"] == BY_THE_SERVICE["x-radbus-reason"]
    assert second["x-death"][0]["reason"] == "delivery_limit"


def test_the_history_stays_within_a_frame_however_often_a_message_is_replayed():
    headers = dict(BY_THE_SERVICE)
    for _ in range(100):
        headers = replayed_headers(
            {**headers, "x-radbus-reason": "r" * 500, "x-death": [{"queue": "é" * 9000}]}, by="me", at=NOW
        )

    assert len(json.dumps(headers)) < 64_000
    assert len(replays_of(headers)) == 10


@pytest.mark.parametrize(
    ("wanted", "is_meant"),
    [
        (Wanted(), True),
        (Wanted(id="m"), True),
        (Wanted(id="n"), False),
        (Wanted(reason="A REVISION"), True),
        (Wanted(reason="another"), False),
        (Wanted(older_than=timedelta(hours=2)), True),
        (Wanted(older_than=timedelta(hours=3)), False),
        (Wanted(newer_than=timedelta(hours=1)), False),
        (Wanted(older_than=timedelta(hours=1), newer_than=timedelta(hours=3)), True),
    ],
)
def test_letters_are_meant_by_id_reason_and_age(wanted, is_meant):
    assert wanted.holds_for(read_letter("q", "m", b"", BY_THE_SERVICE), NOW) is is_meant


def test_one_of_unknown_age_is_neither_older_nor_newer():
    letter = read_letter("q", "m", b"", {})

    assert not Wanted(older_than=timedelta(0)).holds_for(letter, NOW)
    assert not Wanted(newer_than=timedelta(days=9999)).holds_for(letter, NOW)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800)])
def test_a_time_has_a_unit(text, seconds):
    assert duration_of(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "1.5h", "2x", "9999999d"])
def test_what_is_no_time_is_refused_in_words(text):
    with pytest.raises(DurationError, match="expected a time such as"):
        duration_of(text)
