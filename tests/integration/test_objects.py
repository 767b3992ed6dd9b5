"""The object store, on whatever S3 the environment names."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import psutil
import pytest
from pydantic import SecretStr
from radbus_storage.errors import ObjectMissingError, StoreUnavailableError
from radbus_storage.objects import ObjectStore
from radbus_storage.settings import ObjectSettings
from radbus_testing.proxy import proxied
from radbus_testing.tripwire import Passing, Way

pytestmark = pytest.mark.stack
MEGABYTE = 1024 * 1024


def settings_of(stack, **changes) -> ObjectSettings:
    environment = stack.environment()
    given = {
        "url": environment["RADBUS_S3_URL"],
        "public_url": environment["RADBUS_S3_PUBLIC_URL"],
        "access_key": SecretStr(environment["RADBUS_S3_ACCESS_KEY"]),
        "secret_key": SecretStr(environment["RADBUS_S3_SECRET_KEY"]),
        "bucket": environment["RADBUS_S3_BUCKET"],
    }
    return ObjectSettings(**{**given, **changes})


@pytest.fixture
async def store(stack) -> AsyncIterator[ObjectStore]:
    store = ObjectStore(settings_of(stack))
    await store.ensure_bucket()
    yield store
    store.close()


async def test_what_is_put_is_what_is_read_by_the_store_and_by_a_signed_url(store, institution):
    key = f"{institution}/a.json"

    await store.put(key, b"{}", size_bytes=2, content_type="application/json")

    assert await store.get(key) == b"{}"
    url = store.presign(key, lifetime_s=60, filename="a.json")
    with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
        assert answer.read() == b"{}"
        assert answer.headers["Content-Disposition"] == 'inline; filename="a.json"'


async def test_a_signed_url_serves_no_other_object(store, institution):
    await store.put(f"{institution}/a", b"a", size_bytes=1)
    await store.put(f"{institution}/b", b"b", size_bytes=1)

    url = store.presign(f"{institution}/a", lifetime_s=60).replace(f"{institution}/a", f"{institution}/b")

    with pytest.raises(urllib.error.HTTPError, match="403"):
        await asyncio.to_thread(urllib.request.urlopen, url)


async def test_an_object_that_is_not_there_is_said_to_be_missing_and_can_be_deleted(store, institution, tmp_path):
    with pytest.raises(ObjectMissingError):
        await store.get(f"{institution}/none")
    with pytest.raises(ObjectMissingError):
        await store.download(f"{institution}/none", tmp_path / "none")

    await store.delete(f"{institution}/none")


async def test_what_is_deleted_leaves_no_parts_of_an_upload_that_was_cut_in_the_middle(stack, store, institution):
    key, other = f"{institution}/cut", f"{institution}/cut-too"
    for each in (key, other):
        with proxied({"URL": settings_of(stack).url}, "URL") as (proxy, through):
            cut_off = ObjectStore(settings_of(stack, url=through["URL"], timeout_s=5))
            cut = proxy.cut_when(Passing(Way.TO_SERVER, after_bytes=12 * MEGABYTE))
            with pytest.raises(StoreUnavailableError):
                await cut_off.put(each, io.BytesIO(bytes(20 * MEGABYTE)), size_bytes=20 * MEGABYTE)
            assert cut.done()
            cut_off.close()
    assert begun(store, key, other) == [key, other]

    await store.delete(key)

    assert begun(store, key, other) == [other]
    await store.delete(other)
    assert begun(store, key, other) == []


def begun(store: ObjectStore, *keys: str) -> list[str]:
    """Tell of which of these an upload was not completed."""

    def is_begun(key: str) -> bool:
        found = store._client._list_multipart_uploads(store._bucket, prefix=key).uploads
        return any(upload.object_name == key for upload in found)

    return [key for key in keys if is_begun(key)]


async def test_a_large_object_streams_both_ways_without_being_held_in_memory(store, institution, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for _ in range(200):
            file.write(os.urandom(MEGABYTE))
    before = psutil.Process().memory_info().rss

    with source.open("rb") as file:
        await store.put(f"{institution}/large", file, size_bytes=source.stat().st_size)
    await store.download(f"{institution}/large", target)

    assert psutil.Process().memory_info().rss - before < 120 * MEGABYTE
    with source.open("rb") as one, target.open("rb") as other:
        assert hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()


async def test_a_store_that_does_not_answer_is_a_transient_error(stack):
    store = ObjectStore(settings_of(stack, url="http://127.0.0.1:9", timeout_s=1))

    with pytest.raises(StoreUnavailableError):
        await store.put("a", io.BytesIO(b"a"), size_bytes=1)
    store.close()


async def test_keys_below_a_prefix_are_listed_to_a_limit(store, institution):
    for number in range(5):
        await store.put(f"{institution}/x/{number}", b"", size_bytes=0)

    assert len(await store.keys(f"{institution}/x/", limit=10)) == 5
    assert len(await store.keys(f"{institution}/x/", limit=3)) == 3
