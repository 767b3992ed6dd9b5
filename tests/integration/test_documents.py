"""Documents in a real MongoDB: atomic changes, and errors in radbus's two kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from radbus_storage.documents import NOW, Collection, Documents, Index, after
from radbus_storage.errors import AlreadyThereError, StoreFailedError, StoreRefusedError, StoreUnavailableError
from radbus_storage.settings import DocumentSettings

pytestmark = pytest.mark.stack


@pytest.fixture
def documents(stack) -> Iterator[Documents]:
    documents = Documents(DocumentSettings(url=SecretStr(stack.environment()["RADBUS_MONGO_URL"]), database="test"))
    yield documents
    documents.close()


@pytest.fixture
def collection(documents, institution) -> Collection:
    return documents[institution]


async def test_of_many_who_claim_at_once_exactly_one_wins(collection):
    await collection.insert({"_id": "job", "state": "ready"})
    claim = {"$set": {"state": "taken"}}

    won = await asyncio.gather(*(collection.update({"_id": "job", "state": "ready"}, claim) for _ in range(50)))

    assert won.count(True) == 1


async def test_a_key_that_is_taken_is_said_to_be_there_already(collection):
    await collection.ensure_indexes([Index((("name", 1),), unique=True)])
    await collection.insert({"_id": "a", "name": "x"})

    with pytest.raises(AlreadyThereError):
        await collection.insert({"_id": "a"})
    with pytest.raises(AlreadyThereError):
        await collection.insert({"_id": "b", "name": "x"})


async def test_times_are_the_servers(collection):
    await collection.update({"_id": "lease"}, [{"$set": {"until": after(-1.5), "later": after(60)}}], upsert=True)

    stale = await collection.find({"$expr": {"$lt": ["$until", NOW]}}, limit=5)

    assert [each["_id"] for each in stale] == ["lease"]
    assert stale[0]["later"].tzinfo is not None
    assert await collection.count({"$expr": {"$lt": ["$later", NOW]}}) == 0


async def test_a_document_that_is_too_large_is_refused_for_good(collection):
    with pytest.raises(StoreRefusedError):
        await collection.insert({"_id": "large", "data": "x" * 17_000_000})


async def test_a_change_that_the_server_cannot_make_is_no_sign_that_it_is_away(collection):
    await collection.insert({"_id": "a", "name": "x"})

    with pytest.raises(StoreFailedError):
        await collection.update({"_id": "a"}, {"$push": {"name": 1}})


async def test_a_server_that_is_away_is_a_transient_error(stack):
    away = Documents(DocumentSettings(url=SecretStr("mongodb://127.0.0.1:9/"), timeout_s=0.5))

    with pytest.raises(StoreUnavailableError):
        await away.ping()
    with pytest.raises(StoreUnavailableError):
        await away["any"].find_one({})
    away.close()
