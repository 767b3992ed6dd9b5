"""What the service says that it answers is what it answers, whatever it is asked."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from radbus_contracts.identity import inference_id, model_id

from tests.integration.results import test_runs
from tests.integration.results.world import INSTANCE, SERIES, World

pytestmark = pytest.mark.stack

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
RUN_S = 120


async def run(world: World, folder: Path, *, config: str = "") -> tuple[int, str]:
    """Let the service be asked all that its description allows, and much that it does not."""
    settings = folder / "schemathesis.toml"
    await asyncio.to_thread(settings.write_text, config)
    options = ["--header", f"Authorization: {world.headers['Authorization']}", "--exclude-tag", "health"]
    options += ["--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing", "--max-examples", "5"]
    options += ["--generation-deterministic", "--no-color"]
    program = await asyncio.create_subprocess_exec(
        str(SCHEMATHESIS),
        "--config-file",
        str(settings),
        "run",
        f"{world.url}/openapi.json",
        *options,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_S):
            out, _ = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
    return program.returncode or 0, out.decode()


def known(path: str, **parameters: str) -> str:
    """Spell that a path is to be asked with what is there."""
    given = ", ".join(f"{name} = {json.dumps(value)}" for name, value in parameters.items())
    return f'[[operations]]\ninclude-path = "{path}"\nparameters = {{ {given} }}\n'


async def test_no_request_is_answered_by_what_is_not_documented(world, tmp_path):
    status, said = await run(world, tmp_path)

    assert status == 0, said


async def test_what_is_there_is_answered_as_documented(world, tmp_path):
    await world.store_series(patient_id="MRN 7")
    await world.store_instance()
    await world.store_outcome(world.job())
    await world.publish(world.series_completed(), world.requested(), world.completed())
    await world.answered(200)
    done, active = await test_runs.end(world), await test_runs.start(world, state="active", progress=0.5)
    segmentation = "/api/v1/models/{model_id}/segmentation/{segmentation_id}"
    config = [
        known("/results/{uid}", uid=SERIES),
        known("/results/v2/{uid}", uid=INSTANCE),
        known("/inferences/{inference_id}", inference_id=inference_id(world.job())),
        known(
            "/api/models/{model_id}/patients/{patient_mrn}/inferences/",
            model_id=model_id("qct", "lung-ct"),
            patient_mrn="MRN 7",
        ),
        known("/v1/model/results/{run_id}", run_id=done),
        known(segmentation, model_id=test_runs.MODEL, segmentation_id=active),
        known(f"{segmentation}/result", model_id=test_runs.MODEL, segmentation_id=active),
    ]

    status, said = await run(world, tmp_path, config="".join(config))

    assert status == 0, said
    assert "Missing test data" not in said  # all of it was found
