"""How each server says that it can be used; an open port alone says little."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys

from radbus_cli.local.layout import HOST, repository

_PROBE_TIMEOUT_S = 2.0
_AMQP_0_9_1_GREETING = b"AMQP\x00\x00\x09\x01"
_AMQP_METHOD_FRAME = b"\x01"
_EPMD_NAMES_REQUEST = b"\x00\x01n"


def tcp_accepts(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    try:
        with socket.create_connection((HOST, port), timeout=_PROBE_TIMEOUT_S):
            return True
    except OSError:
        return False


def http_answers_ok(port: int, path: str) -> bool:
    """Tell whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def epmd_answers(port: int) -> bool:
    """Tell whether Erlang's name server lists its nodes."""
    return bool(_ask(port, _EPMD_NAMES_REQUEST, size_bytes=4))


def amqp_greets(port: int) -> bool:
    """Tell whether a broker answers the AMQP 0-9-1 protocol header with `connection.start`."""
    return _ask(port, _AMQP_0_9_1_GREETING, size_bytes=1) == _AMQP_METHOD_FRAME


def replica_set_is_writable(port: int) -> bool:
    """Tell whether the MongoDB node is the primary of its replica set, initiating the set where there is none yet.

    A program of its own, because only `libs/storage` may import the client of MongoDB.
    """
    if not tcp_accepts(port):
        return False
    script = repository() / "deploy" / "local" / "initiate_replica_set.py"
    try:
        done = subprocess.run(
            [sys.executable, str(script), f"{HOST}:{port}"], capture_output=True, timeout=10.0, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _ask(port: int, question: bytes, *, size_bytes: int) -> bytes:
    try:
        with socket.create_connection((HOST, port), timeout=_PROBE_TIMEOUT_S) as connection:
            connection.sendall(question)
            return connection.recv(size_bytes)
    except OSError:
        return b""
