"""The results of runs on uploaded zips, byte by byte as clients of the inferencing API know them."""

from __future__ import annotations

import asyncio
import io
import uuid
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from radbus_contracts.identity import model_id, outcome_id
from radbus_runtime.auth.tokens import create_token
from radbus_storage import records

from tests.integration.results.world import World

pytestmark = pytest.mark.stack

MODEL = "PassThroughModel:1729"
STRUCTURE_SET = b"\0" * 128 + b"DICM" + b"an RT Structure Set" * 100
NOT_FOUND = {
    "code": "NOT_FOUND",
    "detail": "The specified resource does not exist.",
    "status": 404,
    "title": "ResourceNotFound",
    "extra_details": "InvalidRunId",
}
FAILED = {
    "code": "INTERNAL_SERVER_ERROR",
    "detail": "The server encountered an internal error. Please retry the request.",
    "status": 500,
    "title": "InternalError",
}
CANCELLED = {**FAILED, "extra_details": "RunCancelled"}
NO_ZIP = {
    "code": "BAD_REQUEST",
    "detail": "Input file is not in correct format.",
    "status": 400,
    "title": "InvalidInput",
    "extra_details": "InvalidZipFile",
}


async def start(world: World, *, state: str | None = None, progress: float = 0.0, **run: Any) -> str:
    """Record a run, and its job where that has a state; return its id."""
    run_id = str(uuid.uuid4())
    own = {"_id": run_id, "institution": world.institution}
    record = {
        "model_id": MODEL,
        "machine": "pass-through",
        "sha256": "0" * 64,
        "window": run_id,
        "archive": f"{world.institution}/runs/{run_id}/upload.zip",
        "size_bytes": 1000,
        "started_at": datetime.now(UTC),
        "ended_at": None,
        "outbox": [],
    }
    await world.documents[records.RUNS].insert({**own, **record, **run})
    if state is not None:
        succeeded = state == "completed"
        task = {
            "id": "segment",
            "state": "succeeded" if succeeded else ("running" if progress else "ready"),
            "progress": progress,
            "outcome_id": outcome_id(run_id, "segment", 1) if succeeded else None,
        }
        reason = "segment: the worker was lost 3 times" if state == "failed" else None
        await world.documents[records.JOBS].insert({**own, "state": state, "reason": reason, "tasks": [task]})
    return run_id


async def end(world: World, *, usable: bool = True, stored: bool = True) -> str:
    """Record a run that has ended, with what it came to."""
    run_id = await start(world, state="completed")
    key = f"{world.institution}/derived/{run_id}/segment/1/rtstruct.dcm"
    if stored:
        await world.objects.put(key, STRUCTURE_SET, size_bytes=len(STRUCTURE_SET))
    outcome = {"usable": usable, "summary": "" if usable else "The archive is no zip.", "files": {"rtstruct": [key]}}
    own = {"_id": outcome_id(run_id, "segment", 1), "institution": world.institution}
    await world.documents[records.OUTCOMES].insert({**own, **outcome})
    return run_id


async def ask(world: World, run_id: str) -> requests.Response:
    """Ask as the public client does."""
    secret = world.headers["Authorization"].partition(" ")[2]
    return await world.get(f"/v1/model/results/{run_id}", headers={"API_AUTH_SECRET": secret, "Accept": "text/html"})


async def stand(world: World, run_id: str, model_id: str = MODEL) -> requests.Response:
    """Ask how a run stands by the other addresses."""
    return await world.get(f"/api/v1/models/{model_id}/segmentation/{run_id}")


async def test_a_result_is_a_zip_of_exactly_one_entry_the_structure_set(world):
    run_id = await end(world)

    answers = [await ask(world, run_id), await world.get(f"/api/v1/models/{MODEL}/segmentation/{run_id}/result")]

    assert [each.status_code for each in answers] == [200, 200]
    assert [each.headers["content-type"] for each in answers] == ["application/zip"] * 2
    assert answers[0].content == answers[1].content
    with zipfile.ZipFile(io.BytesIO(answers[0].content)) as archive:
        [entry] = archive.infolist()
        assert not entry.is_dir()
        assert archive.read(entry) == STRUCTURE_SET


@pytest.mark.parametrize("state", [None, "active"])
async def test_a_run_that_is_not_finished_is_202_without_a_single_byte(world, state):
    run_id = await start(world, state=state, progress=0.5)

    answers = [await ask(world, run_id), await world.get(f"/api/v1/models/{MODEL}/segmentation/{run_id}/result")]

    for answer in answers:
        assert (answer.status_code, answer.content) == (202, b"")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_runs_that_have_no_result_say_why_in_the_words_of_the_dialect(world):
    hours_ago = datetime.now(UTC) - timedelta(hours=3)
    stranger = await create_token(world.documents[records.TOKENS], institution="elsewhere", name="other")
    runs = {
        "no zip": await end(world, usable=False),
        "failed": await start(world, state="failed"),
        "cancelled": await start(world, state="cancelled"),
        "never begun": await start(world, started_at=hours_ago),
        "result erased": await end(world, stored=False),
        "unknown": str(uuid.uuid4()),
        "announced": await start(world, window="the run's id/announced"),
        "no id": "a%00%FF%2e",
    }

    answers = {name: await ask(world, run_id) for name, run_id in runs.items()}
    others = await world.get(f"/v1/model/results/{await end(world)}", headers={"API_AUTH_SECRET": stranger})

    said = {name: (each.status_code, each.json()) for name, each in answers.items()}
    assert said == {
        "no zip": (400, NO_ZIP),
        "failed": (500, FAILED),
        "cancelled": (500, CANCELLED),
        "never begun": (500, FAILED),
        "result erased": (500, FAILED),
        "unknown": (404, NOT_FOUND),
        "announced": (404, NOT_FOUND),
        "no id": (404, NOT_FOUND),
    }
    assert {each.headers["content-type"] for each in answers.values()} == {"application/json"}
    assert (others.status_code, others.json()) == (404, NOT_FOUND)


async def test_no_secret_is_401_and_a_wrong_one_403_on_each_of_the_three_routes(world):
    run_id = await end(world)
    segmentation = f"/api/v1/models/{MODEL}/segmentation/{run_id}"
    paths = [f"/v1/model/results/{run_id}", segmentation, f"{segmentation}/result"]

    nobody = [await world.get(path, headers={}) for path in paths]
    stranger = [await world.get(path, headers={"API_AUTH_SECRET": "wrong"}) for path in paths]

    assert {(each.status_code, each.json()["title"]) for each in nobody} == {(401, "NoAuthenticationInformation")}
    assert {(each.status_code, each.json()["title"]) for each in stranger} == {(403, "AuthenticationFailed")}


async def test_how_a_run_stands_is_told_in_one_of_five_words_with_a_whole_percentage(world):
    runs = {
        "no job": await start(world),
        "ready": await start(world, state="active"),
        "running": await start(world, state="active", progress=0.427),
        "ended": await end(world),
        "no zip": await end(world, usable=False),
        "failed": await start(world, state="failed", progress=0.3),
        "cancelled": await start(world, state="cancelled"),
    }

    answers = dict(zip(runs, await asyncio.gather(*(stand(world, each) for each in runs.values())), strict=True))
    told = {name: each.json() for name, each in answers.items()}

    assert {each.status_code for each in answers.values()} == {200}
    assert told["running"] == {
        "modelId": MODEL,
        "segmentationId": runs["running"],
        "status": "running",
        "progress": 42,
        "message": "The run is under way.",
    }
    assert {name: (each["status"], each["progress"]) for name, each in told.items()} == {
        "no job": ("pending", 0),
        "ready": ("pending", 0),
        "running": ("running", 42),
        "ended": ("completed", 100),
        "no zip": ("failed", 100),
        "failed": ("failed", 30),
        "cancelled": ("cancelled", 0),
    }
    assert told["no zip"]["message"] == "The archive is no zip."
    assert told["failed"]["message"] == "The run failed: segment: the worker was lost 3 times"


async def test_a_run_of_a_model_that_is_not_the_callers_is_unknown(world):
    run_id = await end(world)
    tokens, own = world.documents[records.TOKENS], {"institution": world.institution, "name": "reader"}
    theirs = await create_token(tokens, **own, models=(model_id("inner-eye", "pass-through"),))
    others = [await create_token(tokens, **own, models=(each,)) for each in (model_id("qct", "pass-through"), MODEL)]
    path = f"/v1/model/results/{run_id}"

    seen = await world.get(path, headers={"API_AUTH_SECRET": theirs})
    unseen = [await world.get(path, headers={"API_AUTH_SECRET": each}) for each in others]

    assert seen.status_code == 200
    assert [(each.status_code, each.json()) for each in unseen] == [(404, NOT_FOUND)] * 2


async def test_a_run_of_another_model_than_the_address_names_is_unknown(world):
    run_id = await end(world)

    own = await stand(world, run_id, "PassThroughModel%3A1729")
    other = await stand(world, run_id, "lung-ct:1.0.0")
    others_result = await world.get(f"/api/v1/models/lung-ct:1.0.0/segmentation/{run_id}/result")

    assert own.status_code == 200
    assert (other.status_code, other.json()) == (404, NOT_FOUND)
    assert (others_result.status_code, others_result.json()) == (404, NOT_FOUND)
