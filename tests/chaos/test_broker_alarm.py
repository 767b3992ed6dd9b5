"""A broker that has no room on its disk takes no messages: what is accepted waits where it is written, and is told."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_testing.programs import settings_of
from radbus_testing.servers import disk_alarm
from radbus_testing.waiting import eventually, until

from tests.chaos.load import send

pytestmark = pytest.mark.stack


async def test_what_is_accepted_during_a_disk_alarm_waits_in_the_outbox_and_is_told_after_it(
    radbus, hospital, make_load, balanced, told
):
    before, meanwhile = make_load("sq"), make_load("qq")
    await send(hospital, before)
    documents = Documents(settings_of(radbus.environment()).documents)
    uids = {each.series_instance_uid for each in meanwhile}

    async def waiting() -> bool | None:
        where = {"institution": hospital.institution, "series_instance_uid": {"$in": list(uids)}}
        waits = {**where, "state": "complete", "outbox.0": {"$exists": True}}
        return await documents[records.SERIES].count(waits) == len(uids) or None

    def unready() -> dict[str, str] | None:
        answer = httpx2.get(f"{radbus.url('ingest')}/readyz", timeout=10)
        return answer.json()["checks"] if answer.status_code == 503 else None

    with disk_alarm(radbus):
        refusals = await send(hospital, meanwhile)
        await until(waiting, timeout_s=30, what="completed series with an untold fact")
        checks = await asyncio.to_thread(eventually, unready, timeout_s=30, what="unready ingest")
        heard = {event["data"].get("series_instance_uid") for event in told}
    books = await balanced([*before, *meanwhile], told=told, timeout_s=90)
    documents.close()

    assert refusals == []
    assert checks["rabbitmq"] != "ok"
    assert {name: said for name, said in checks.items() if name != "rabbitmq"} == dict.fromkeys(
        checks.keys() - {"rabbitmq"}, "ok"
    )
    assert not heard & uids
    assert books.states() == {"completed": len(before) + len(meanwhile)}
    await asyncio.to_thread(radbus.wait_until_ready, timeout_s=60)
