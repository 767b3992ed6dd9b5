"""The history of inferences: the object, its archives, the pages and the filters."""

from __future__ import annotations

import asyncio
import io
import zipfile

import pytest
import requests
from radbus_contracts.identity import inference_id

from tests.integration.results.world import SERIES, STUDY

pytestmark = pytest.mark.stack


async def test_the_inference_object_has_inputs_outputs_and_an_archive_of_the_series(world):
    await world.store_series()
    for number in range(20):
        await world.store_instance(f"1.2.3.{number}", data=b"instance %d" % number)
    await world.store_outcome(world.job())
    await world.publish(world.completed())
    await world.answered(200)

    body = (await world.get(f"/inferences/{inference_id(world.job())}")).json()
    again = (await world.get(f"/inferences/{inference_id(world.job())}")).json()
    archive = await asyncio.to_thread(requests.get, body["study"]["files"][0]["url"], timeout=10)
    array = await asyncio.to_thread(
        requests.get, body["outputs"]["lungs_segmentation_array"][STUDY][SERIES], timeout=10
    )

    assert (body["model"]["name"], body["model"]["version"], body["study"]["date"]) == ("lung-ct", "1.0.0", "20260101")
    assert body["inputs"] == {"pixel_spacing": {STUDY: {SERIES: [0.5, 0.5]}}}
    assert body["outputs"]["emphysema_index"] == {STUDY: {SERIES: 3.0}}
    assert array.content == b"bytes"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as entries:
        assert sorted(entries.namelist()) == sorted(f"1.2.3.{number}.dcm" for number in range(20))
        assert entries.read("1.2.3.7.dcm") == b"instance 7"
    assert again["study"]["files"][0]["url"].partition("?")[0] == body["study"]["files"][0]["url"].partition("?")[0]
    assert len(await world.objects.keys(f"{world.institution}/archives/", limit=10)) == 1


async def test_a_series_larger_than_the_limit_has_no_archive(world):
    await world.store_instance(data=bytes(100_001))
    await world.store_outcome(world.job())
    await world.publish(world.completed())
    await world.answered(200)

    body = (await world.get(f"/inferences/{inference_id(world.job())}")).json()

    assert body["study"]["files"] == [{"study_instance_uid": STUDY, "series_instance_uid": SERIES, "url": None}]


async def test_pages_of_inferences_hold_each_one_once_newest_first(world):
    series = [f"1.2.{number}" for number in range(7)]
    for each in series:
        await world.store_outcome(world.job(each), index=50.0 if each == "1.2.5" else 1.0)
        await world.publish(world.completed((each,)))
        await world.told(world.job(each))

    pages, path = [], "/inferences?limit=3"
    while path:
        answer = await world.get(path)
        pages.append(answer.json())
        path = answer.links.get("next", {}).get("url", "").removeprefix(world.url)

    found = [each["study"]["files"][0]["series_instance_uid"] for page in pages for each in page]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert found == list(reversed(series))


async def test_inferences_are_found_by_what_they_are_of(world):
    for each, index in (("1.2.1", 1.0), ("1.2.2", 50.0)):
        await world.store_outcome(world.job(each), index=index)
        await world.publish(world.completed((each,)))
        await world.told(world.job(each))
    first = (await world.get("/inferences?series=1.2.1")).json()[0]

    async def count(**asked: str) -> int:
        return len((await world.get("/inferences", params=asked)).json())

    assert await count(study=STUDY) == 2
    assert await count(study="9") == 0
    assert await count(series="1.2.2") == 1
    assert await count(triage="Critical") == await count(triage="routine") == 1
    assert await count(model="lung-ct") == await count(model=first["model"]["id"], version="1.0.0") == 2
    assert await count(version="9") == await count(usecase="qer") == 0
    assert await count(since=first["completed_at"]) == 2
    assert await count(until=first["completed_at"]) == 0
    assert (await world.get("/inferences?cursor=nonsense")).status_code == 400
