"""The results service as a process of its own, on a real broker, database and object store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aio_pika
import pytest
from radbus_contracts.topology import EVENTS
from radbus_runtime.auth.tokens import create_token
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore
from radbus_storage.records import TOKENS
from radbus_testing.programs import service_running, settings_of

from tests.integration.results.world import World


@pytest.fixture(scope="module")
def results_log(tmp_path_factory) -> Path:
    """Where the service writes what it did."""
    return tmp_path_factory.mktemp("results") / "results.log"


@pytest.fixture(scope="module")
def environment(stack) -> dict[str, str]:
    """The test's servers with a database of these tests' own: records made by hand are no whole records to others."""
    return {**stack.environment(), "RADBUS_MONGO_DATABASE": "radbus-results"}


@pytest.fixture(scope="module")
def results(stack, environment, results_log) -> Iterator[str]:
    """The service's address."""
    limited = {**environment, "RADBUS_ARCHIVE_LIMIT_BYTES": "100000"}
    with service_running("results", limited, port=stack.layout.port("results"), log=results_log) as url:
        yield url


@pytest.fixture
async def world(environment, results, institution) -> AsyncIterator[World]:
    settings = settings_of(environment)
    documents, objects = Documents(settings.documents), ObjectStore(settings.objects)
    token = await create_token(documents[TOKENS], institution=institution, name="test", sources=("ward",))
    connection = await aio_pika.connect(environment["RADBUS_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EVENTS)
        headers = {"Authorization": f"Token {token}"}
        world = World(results, documents, objects, exchange, institution, headers)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "inference.#")
        await queue.consume(world.listen, no_ack=True)
        yield world
    objects.close()
    documents.close()
