"""A frozen server is seen by `/readyz` and the metrics, and by them alone: `/healthz` asks no server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import httpx2
import psutil
import pytest
from radbus_testing.waiting import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

NEEDED_BY = {
    "rabbitmq": ("ingest", "router", "scheduler", "results", "worker-0", "worker-1"),
    "mongo": ("ingest", "router", "scheduler", "results", "worker-0", "worker-1"),
    "s3": ("ingest", "results", "worker-0", "worker-1"),
    "triton": ("worker-0", "worker-1"),
}
NAMES = {"rabbitmq": "rabbitmq", "mongo": "mongodb", "s3": "objects", "triton": "triton"}


def ask(url: str) -> httpx2.Response:
    return httpx2.get(url, timeout=20)


def shown(url: str, service: str, check: str) -> float | None:
    """Return what the metrics show of a check, without asking for it to be looked at."""
    line = rf'^radbus_ready{{check="{check}",service="{service}"}} (\S+)$'
    found = re.search(line, ask(f"{url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else None


@pytest.mark.parametrize("server", NEEDED_BY)
def test_a_frozen_server_makes_every_service_that_needs_it_unready_until_it_is_back(radbus, server):
    urls, check = {name: radbus.url(name) for name in NEEDED_BY[server]}, NAMES[server]
    radbus.kill(server, signal.SIGSTOP)
    try:
        for name, url in urls.items():  # nobody has asked for /readyz yet
            service = name.partition("-")[0]
            eventually(lambda: shown(url, service, check) == 0, timeout_s=120, what=f"metric of {name}")  # noqa: B023
        unready = {name: ask(f"{url}/readyz") for name, url in urls.items()}
        alive = {name: ask(f"{url}/healthz").status_code for name, url in urls.items()}
    finally:
        radbus.kill(server, signal.SIGCONT)

    assert {name: answer.status_code for name, answer in unready.items()} == dict.fromkeys(urls, 503)
    assert all(answer.json()["checks"][check] != "ok" for answer in unready.values())
    assert alive == dict.fromkeys(urls, 200)
    radbus.wait_until_ready(timeout_s=120)
    for name, url in urls.items():
        eventually(lambda: shown(url, name.partition("-")[0], check) == 1, timeout_s=120, what=f"well {name}")  # noqa: B023


@pytest.mark.parametrize("service", ["ingest", "router", "scheduler", "results", "worker-0"])
def test_a_service_whose_event_loop_stands_still_does_not_say_that_it_is_alive(radbus, service):
    url = f"{radbus.url(service)}/healthz"
    radbus.kill(service, signal.SIGSTOP)
    try:
        with pytest.raises(httpx2.TimeoutException):
            httpx2.get(url, timeout=1)
    finally:
        radbus.kill(service, signal.SIGCONT)

    eventually(lambda: _answers(url), timeout_s=120, what=f"alive {service}")


def test_a_model_whose_process_died_is_loaded_anew_though_nobody_asks(radbus):
    machines, triton = radbus.environment()["RADBUS_MACHINES_DIR"], radbus.url("triton_http")
    wished = {
        "inputs": [
            {"name": "VOLUME", "shape": [1, 1, 1], "datatype": "INT16", "data": [0]},
            {"name": "SPACING_MM", "shape": [3], "datatype": "FP32", "data": [1, 1, 1]},
            {"name": "DIRECTION", "shape": [9], "datatype": "FP32", "data": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
        ]
    }

    def infers() -> bool:
        return httpx2.post(f"{triton}/v2/models/twisted/infer", json=wished, timeout=20).status_code == 200

    eventually(infers, timeout_s=120, what="inference")
    before = _stubs(machines)
    for process in before:
        process.kill()

    eventually(lambda: _stubs(machines) and infers(), timeout_s=120, what="inference of a model that was loaded anew")
    assert not {each.pid for each in before} & {each.pid for each in _stubs(machines)}


def _stubs(machines: str) -> list[psutil.Process]:
    place = f"{machines}/twisted/"
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if (command := each.info["cmdline"]) and "stub" in command[0] and any(place in part for part in command)
    ]


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
