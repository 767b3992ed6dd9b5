"""A frozen server is seen by `/readyz`, and by it alone: `/healthz` asks no server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import httpx2
import pytest
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack

NEEDED_BY = [("rabbitmq", "router"), ("mongo", "router"), ("s3", "ingest"), ("triton", "worker-0")]
NAMES = {"rabbitmq": "rabbitmq", "mongo": "mongodb", "s3": "objects", "triton": "triton"}


def ask(url: str) -> httpx2.Response:
    return httpx2.get(url, timeout=10)


@pytest.mark.parametrize(("server", "service"), NEEDED_BY)
def test_a_frozen_server_makes_a_service_that_needs_it_unready_until_it_is_back(radbus, server, service):
    url = radbus.url(service)
    radbus.kill(server, signal.SIGSTOP)
    try:
        unready = eventually(
            lambda: (answer := ask(f"{url}/readyz")).status_code == 503 and answer.json(),
            timeout_s=40,
            what=f"unready {service}",
        )
        alive = ask(f"{url}/healthz")
    finally:
        radbus.kill(server, signal.SIGCONT)

    assert unready["checks"][NAMES[server]] != "ok"
    assert alive.status_code == 200
    radbus.wait_until_ready(timeout_s=60)


def test_a_service_whose_servers_are_all_away_is_alive_and_says_what_it_waits_for(radbus, tmp_path):
    port = radbus.layout.port("worker-9")
    away = {
        "RADBUS_AMQP_URL": "amqp://guest:guest@127.0.0.1:9/",
        "RADBUS_MONGO_URL": "mongodb://127.0.0.1:9/?directConnection=true&serverSelectionTimeoutMS=500",
        "RADBUS_HTTP_PORT": str(port),
        "RADBUS_TRACES": "off",
    }
    with (tmp_path / "router.log").open("wb") as out:
        router = subprocess.Popen(
            [sys.executable, "-m", "radbus_router"],
            env={**os.environ, **radbus.environment(), **away},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: _answers(f"http://127.0.0.1:{port}/healthz"), timeout_s=30, what="alive router")
        unready = ask(f"http://127.0.0.1:{port}/readyz")
        counted = ask(f"http://127.0.0.1:{port}/metrics")
    finally:
        router.kill()
        router.wait(10)

    assert unready.status_code == 503
    assert all(unready.json()["checks"][name] != "ok" for name in ("started", "rabbitmq", "mongodb"))
    assert "radbus_messages_settled_total" in counted.text


def _answers(url: str) -> bool:
    try:
        return ask(url).status_code == 200
    except httpx2.TransportError:
        return False
