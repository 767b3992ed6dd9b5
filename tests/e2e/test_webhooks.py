"""Webhooks as an operator sets them up, with the example's receiver; and what is told of them afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from radbus_testing.receiver import Reply, WebhookReceiver
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack
EXAMPLE = Path(__file__).parents[2] / "examples" / "webhooks" / "receiver.py"


@contextmanager
def example(secret: str, port: int) -> Iterator[Callable[[], str]]:
    """Run the example's receiver; gives a function that waits for its next line."""
    running = subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLE)],
        env={**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == "listening\n"
        yield running.stdout.readline
    finally:
        running.terminate()
        running.wait(10)


def test_the_example_is_told_of_a_result_and_of_what_no_use_case_is_for(
    hospital, make_series, radbus_command, base_port
):
    port = base_port + 99  # none of the stack's own
    added = json.loads(
        radbus_command("webhooks", "add", hospital.institution, f"http://127.0.0.1:{port}/radbus", "--json")
    )
    series = make_series()
    stray = make_series(body_part="FOOT", study_description="CT foot phantom")
    with example(added["secret"], port) as next_line:
        assert "has taken a test" in radbus_command("webhooks", "test", added["id"])
        assert next_line().startswith("radbus.webhook.test.v1")
        hospital.upload(series.instances)
        told = next_line()
        assert told.startswith("radbus.inference.completed.v1")
        assert series.uid in told
        hospital.upload(stray.instances)
        told = next_line()
        assert told.startswith("radbus.series.unrouted.v1")
        assert stray.uid in told

    def noted() -> bool:  # once the receiver's answer has come
        listed = json.loads(radbus_command("webhooks", "deliveries", "--webhook", added["id"], "--json"))
        return [each["state"] for each in listed] == ["delivered"] * 3

    eventually(noted, timeout_s=30, what="three events that were delivered")
    audited = radbus_command("audit", series.study, "--institution", hospital.institution)
    assert "webhook told inference.completed.v1" in audited


def test_an_operator_sees_why_a_receiver_is_not_told_and_lets_it_be_told_later(hospital, make_series, radbus_command):
    with WebhookReceiver(lambda _: Reply(401)) as receiver:
        added = json.loads(
            radbus_command(
                "webhooks", "add", hospital.institution, receiver.url, "--event", "inference.completed", "--json"
            )
        )
        assert radbus_command("webhooks", "secret", added["id"]).strip() == added["secret"]
        radbus_command("webhooks", "test", added["id"], status=1)  # and is not tried again
        series = make_series()
        hospital.upload(series.instances)

        def refused() -> dict | None:
            listed = json.loads(
                radbus_command("webhooks", "deliveries", "--webhook", added["id"], "--state", "waiting", "--json")
            )
            return next((each for each in listed if each["reason"]), None)

        waiting = eventually(refused, timeout_s=60, what="a try in vain")
        assert waiting["reason"] == "answered 401"
        assert waiting["study"] == series.study
        receiver.reply = lambda _: Reply()
        # The test was given up at once: it is what is tried again; the result is, by itself.
        assert "1 are tried again" in radbus_command("webhooks", "retry", "--webhook", added["id"], "--yes")
        events = eventually(
            lambda: [each for each in receiver.events(added["secret"]) if each["type"].endswith("completed.v1")][1:],
            timeout_s=60,
            what="the second call for the result",
        )
    assert events[0]["data"]["series_instance_uids"] == [series.uid]
    assert "removed" in radbus_command("webhooks", "remove", added["id"])
    radbus_command("webhooks", "secret", added["id"], status=1)
    assert json.loads(radbus_command("webhooks", "list", "--institution", hospital.institution, "--json")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "h", "ris.example/hook"),
        ("add", "h", "https://user:secret@ris.example/"),
        ("add", "no such name!", "https://ris.example/"),
        ("add", "h", "https://ris.example/", "--event", "task.started"),
        ("test", "nothing"),
        ("secret", "nothing"),
        ("remove", "nothing"),
        ("retry",),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(radbus_command, arguments):
    radbus_command("webhooks", *arguments, status=1)
