"""The connections of a service: so many at a time that files and the stores can still be opened."""

from __future__ import annotations

import asyncio
from functools import partial

import uvicorn
from prometheus_client import REGISTRY
from radbus_runtime.http_protocol import BoundedHttpProtocol
from uvicorn.server import ServerState

REFUSED = "radbus_http_connections_refused_total"


class Transport(asyncio.Transport):
    """A connection without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


async def test_a_connection_beyond_the_limit_is_closed_and_counted_and_the_next_has_a_place_again(monkeypatch):
    monkeypatch.setattr("radbus_runtime.http_protocol.CONNECTIONS_LIMIT", 1)
    config = uvicorn.Config(lambda: None, log_config=None)
    config.load()
    make = partial(BoundedHttpProtocol, config=config, server_state=ServerState(), app_state={}, head_s=60)
    first, second, third = make(), make(), make()
    transports = [Transport() for _ in range(3)]
    before = REGISTRY.get_sample_value(REFUSED)

    first.connection_made(transports[0])
    second.connection_made(transports[1])
    closed = [transport.is_closed for transport in transports[:2]]
    second.connection_lost(None)
    first.connection_lost(None)
    third.connection_made(transports[2])

    assert closed == [False, True]
    assert not transports[2].is_closed
    assert REGISTRY.get_sample_value(REFUSED) == before + 1
    third.connection_lost(None)
