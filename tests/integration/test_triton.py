"""The Triton client against a real Triton, with a model that does what the request says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from radbus_cli.local.stack import LocalStack
from radbus_machines.triton import (
    SharedMemoryUse,
    TritonAwayError,
    TritonClient,
    TritonModel,
    TritonRefusedError,
    TritonUnavailableError,
)
from radbus_testing.waiting import until

pytestmark = pytest.mark.stack

CONFIG = """
name: "obedient"
backend: "python"
max_batch_size: 0
input [
  { name: "IN" data_type: TYPE_INT16 dims: [ -1, -1, -1 ] },
  { name: "WISH" data_type: TYPE_FP32 dims: [ 1 ] }
]
output [
  { name: "OUT" data_type: TYPE_INT16 dims: [ -1, -1, -1 ] },
  { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] }
]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
MODEL = """
import os
import pathlib
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
        here = pathlib.Path(__file__)
        if here.with_name("fail").exists():
            raise ValueError("told to fail")
        while here.with_name("hang").exists():
            time.sleep(0.05)
        wish = float(pb_utils.get_input_tensor_by_name(request, "WISH").as_numpy()[0])
        if wish == -1:
            raise ValueError("asked to fail")
        if wish == -2:
            os._exit(9)
        if wish == -3:
            array = array[:0]
        time.sleep(max(0.0, wish))
        text = np.array([b"hello"], dtype=object)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array), pb_utils.Tensor("TEXT", text)])
"""
LARGE, SMALL = (40, 256, 256), (2, 8, 8)  # 5 MiB, and 256 bytes
FAIL, DIE, NOTHING = -1.0, -2.0, -3.0
SILENT_S = 5.0


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    models = tmp_path_factory.mktemp("models")
    (models / "obedient" / "1").mkdir(parents=True)
    (models / "obedient" / "config.pbtxt").write_text(CONFIG)
    (models / "obedient" / "1" / "model.py").write_text(MODEL)
    return models


@pytest.fixture(scope="module")
def address(stack, models, tmp_path_factory, base_port) -> Iterator[str]:
    """A Triton with that one model; the other servers are the session's."""
    shared = {name: value for name, value in stack.environment().items() if name != "RADBUS_TRITON_URL"}
    own = LocalStack(tmp_path_factory.mktemp("triton"), base_port + 500, machines_dir=models, given=shared)
    try:
        own.up(services=False)
        yield own.environment()["RADBUS_TRITON_URL"]
    finally:
        own.down()


@pytest.fixture(params=[SharedMemoryUse.AUTO, SharedMemoryUse.OFF])
async def client(address, request) -> AsyncIterator[TritonClient]:
    client = TritonClient(address, shared_memory=request.param)
    yield client
    await client.close()


@pytest.fixture
def model(client) -> TritonModel:
    return TritonModel(client, "obedient", timeout_s=20)


def inputs(wish: float = 0.0, shape: tuple[int, ...] = LARGE) -> dict[str, np.ndarray]:
    array = np.arange(np.prod(shape), dtype=np.int64).astype(np.int16).reshape(shape)
    return {"IN": array, "WISH": np.array([wish], np.float32)}


def outputs(shape: tuple[int, ...] = LARGE) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {"OUT": (shape, np.dtype(np.int16)), "TEXT": ((1,), np.dtype(object))}


async def regions(client: TritonClient) -> set[str]:
    return set((await client.connection.get_system_shared_memory_status()).regions)


async def nothing_left(client: TritonClient, model: TritonModel) -> None:
    """Wait until Triton knows no block: it may hold one for a moment after its answer, and is asked again later."""
    deadline = time.monotonic() + 20
    while await regions(client) and time.monotonic() < deadline:
        await model.infer(inputs(), outputs())
    assert await regions(client) == set()


def blocks() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("radbus-block-*")}


@pytest.mark.parametrize("shape", [LARGE, SMALL])
async def test_what_goes_in_comes_out_and_no_memory_stays_behind(client, model, shape):
    before = blocks()

    found = await model.infer(inputs(shape=shape), outputs(shape))

    assert (found["OUT"] == inputs(shape=shape)["IN"]).all()
    assert list(found["TEXT"]) == [b"hello"]
    await nothing_left(client, model)
    assert not blocks() - before


async def test_requests_at_once_do_not_see_one_anothers_memory(model):
    given = [{**inputs(), "IN": np.full(LARGE, number, np.int16)} for number in range(4)]

    found = await asyncio.gather(*(model.infer(each, outputs()) for each in given))

    assert [int(each["OUT"].min()) for each in found] == [0, 1, 2, 3]
    assert [int(each["OUT"].max()) for each in found] == [0, 1, 2, 3]


async def test_a_model_that_fails_may_be_asked_again(model):
    with pytest.raises(TritonUnavailableError, match="asked to fail"):
        await model.infer(inputs(FAIL), outputs())

    assert (await model.infer(inputs(), outputs()))["TEXT"][0] == b"hello"


async def test_an_output_without_bytes_is_an_error_and_not_a_picture_of_nothing(model):
    with pytest.raises(TritonRefusedError, match=r"expected the output OUT as INT16 \[40, 256, 256\]"):
        await model.infer(inputs(NOTHING), outputs())


async def test_a_request_that_the_model_does_not_know_is_refused_before_it_is_sent(model):
    with pytest.raises(TritonRefusedError, match="expected the inputs"):
        await model.infer({"IN": inputs()["IN"]}, outputs())


async def test_a_model_that_is_not_there_may_come_yet(client):
    with pytest.raises(TritonUnavailableError, match="NOT_FOUND"):
        await TritonModel(client, "nobody", timeout_s=5).infer(inputs(), outputs())

    assert await client.check(["obedient"]) is None
    assert await client.check(["nobody"]) == "model nobody is not ready"


async def test_a_request_ends_at_its_deadline_and_its_memory_is_given_back_later(client, model):
    with pytest.raises(TritonUnavailableError, match="DEADLINE_EXCEEDED"):
        await TritonModel(client, "obedient", timeout_s=0.3).infer(inputs(1.5), outputs())

    await model.infer(inputs(), outputs())
    assert await regions(client) == set()


async def test_a_cancelled_request_leaves_triton_well_and_no_memory_behind(client, model):
    request = asyncio.create_task(model.infer(inputs(1.5), outputs()))
    await asyncio.sleep(0.5)

    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await model.infer(inputs(), outputs())

    assert await client.check(["obedient"]) is None
    assert await regions(client) == set()


async def test_a_model_whose_process_has_died_is_loaded_anew(model):
    with pytest.raises(TritonUnavailableError, match="is not healthy"):
        await model.infer(inputs(DIE), outputs())

    assert (await model.infer(inputs(), outputs()))["TEXT"][0] == b"hello"


@pytest.mark.parametrize("strike", [psutil.Process.kill, psutil.Process.suspend], ids=["killed", "frozen"])
async def test_a_model_whose_process_was_struck_is_not_ready_and_is_again_once_it_was_looked_at(
    client, model, models, strike
):
    await model.infer(inputs(), outputs())
    (process,) = (each for each in psutil.process_iter(["cmdline"]) if _runs(each, models))
    strike(process)

    # Triton itself notices within a second or two; until then the model is as good as busy.
    found = await until(lambda: client.check(["obedient"]), timeout_s=20, what="word of the dead process")
    assert found == "the process of model obedient had died; it is loaded anew"
    await until(lambda: _is_well(client), timeout_s=20, what="model that was loaded anew")
    with suppress(psutil.NoSuchProcess):  # Triton leaves one that stands still as it is
        process.kill()


async def test_what_is_wrong_with_a_model_is_said_before_it_is_mended(client, models):
    await client.connection.unload_model("obedient")

    assert await client.check(["obedient"]) == "model obedient is not ready"

    assert "obedient" in client._healer._healing  # loading takes longer than whoever asks for readiness waits
    await until(lambda: _is_well(client), timeout_s=20, what="model that was loaded again")


async def test_a_model_that_several_workers_find_dead_at_once_is_loaded_in_the_end(address, models):
    clients = [TritonClient(address) for _ in range(3)]
    (process,) = (each for each in psutil.process_iter(["cmdline"]) if _runs(each, models))
    process.kill()

    async def well() -> bool | None:
        return set(await asyncio.gather(*(each.check(["obedient"]) for each in clients))) == {None} or None

    await until(well, timeout_s=60, what="model that all find well")
    await clients[0].connection.unload_model("obedient")  # as one does that gave up between the two

    await until(well, timeout_s=60, what="model that is loaded again")
    for each in clients:
        await each.close()


async def _is_well(client: TritonClient) -> bool | None:
    return await client.check(["obedient"]) is None or None


def _runs(process: psutil.Process, models: Path) -> bool:
    command = process.info["cmdline"] or [""]
    return "triton_python_backend_stub" in command[0] and any(str(models) in part for part in command)


async def test_a_model_that_is_busy_is_not_taken_for_dead(client, model):
    request = asyncio.create_task(model.infer(inputs(4), outputs()))
    await asyncio.sleep(0.3)

    assert await client.check(["obedient"]) is None
    await request


@contextmanager
def told_to(models: Path, fault: str) -> Iterator[None]:
    """Let the model fail, or hang, at all that it is asked."""
    told = models / "obedient" / "1" / fault
    told.touch()
    try:
        yield
    finally:
        told.unlink()


async def test_a_model_that_is_busy_for_others_is_not_taken_for_silent(address, model):
    client = TritonClient(address, silent_s=SILENT_S)
    checks, until_s = [], time.monotonic() + 3 * SILENT_S

    async def keep_busy() -> None:
        while time.monotonic() < until_s:
            await asyncio.gather(*(model.infer(inputs(1.5, SMALL), outputs(SMALL)) for _ in range(4)))

    load = asyncio.create_task(keep_busy())
    while not load.done():
        checks.append(await client.check(["obedient"]))
    await load
    await client.close()

    assert len(checks) > 2
    assert set(checks) == {None}


async def test_a_model_whose_code_hangs_is_not_ready_until_it_answers_again(address, models):
    client = TritonClient(address, silent_s=SILENT_S)

    with told_to(models, "hang"):
        first = await client.check(["obedient"])
        found = await until(lambda: client.check(["obedient"]), timeout_s=10 * SILENT_S, what="word of the silence")

    assert first is None
    assert found == f"model obedient does not answer, for more than {SILENT_S:g} s"
    await until(lambda: _is_well(client), timeout_s=20, what="model that answers again")
    await client.close()


async def test_a_model_that_fails_at_all_it_is_asked_keeps_no_worker_from_others(address, models):
    client = TritonClient(address, silent_s=SILENT_S)
    asked = TritonModel(client, "obedient", timeout_s=20)
    checks, until_s = [], time.monotonic() + 3 * SILENT_S

    with told_to(models, "fail"):
        while time.monotonic() < until_s:
            with pytest.raises(TritonUnavailableError, match="told to fail"):
                await asked.infer(inputs(), outputs())
            checks.append(await client.check(["obedient"]))

    assert set(checks) == {None}
    await client.close()


async def test_the_memory_of_a_killed_client_is_forgotten(address):
    client = TritonClient(address)
    killed = TritonClient(address)
    async with killed.region(4096) as block:
        block.remove()

        await client.forget_leftovers()

        assert await regions(client) == set()
    await client.close()


async def test_a_triton_that_is_away_is_said_to_be():
    client = TritonClient("127.0.0.1:1")

    with pytest.raises(TritonAwayError, match="UNAVAILABLE"):
        await TritonModel(client, "obedient", timeout_s=5).infer(inputs(), outputs())

    assert await client.check([]) == "Triton does not answer (UNAVAILABLE)"
    await client.close()
