"""A network as an ONNX file on the local Triton, which has no backend of its own for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from radbus_cli.__main__ import app
from radbus_cli.local.stack import LocalStack
from radbus_machines.triton import TritonClient, TritonModel, TritonRefusedError, TritonUnavailableError
from radbus_testing.drawn_chest import drawn_chest
from radbus_testing.onnx_files import small_network, write_small_network
from radbus_testing.waiting import until
from typer.testing import CliRunner

pytestmark = pytest.mark.stack

BASE_PORT = int(os.environ.get("RADBUS_TEST_BASE_PORT", "18000")) + 700
OTHERS = {
    "RADBUS_AMQP_URL": "amqp://absent/",
    "RADBUS_MONGO_URL": "mongodb://absent/",
    "RADBUS_S3_URL": "http://absent",
}
MODEL = "small_network"
SHAPES = {"MASKS": ((-1, 3, 256, 256), np.dtype(np.float32)), "VIEW": ((-1, 3), np.dtype(np.float32))}


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """The network's file in a model repository of its own."""
    return write_small_network(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Three radiographs, as IMAGE."""
    drawn = [drawn_chest()[44:556:2, :500], drawn_chest(opaque=True)[44:556:2, :500], drawn_chest()[300:556, :500]]
    cut = [np.pad(each[:, 122:378], ((0, 256 - each.shape[0]), (0, 0))) / 4095 for each in drawn]
    return np.stack(cut)[:, None].astype(np.float32)


@pytest.fixture(scope="module")
def address(network, tmp_path_factory) -> Iterator[str]:
    """A Triton with that model alone; no other server is needed."""
    given = {name: value for name, value in os.environ.items() if name != "RADBUS_TRITON_URL"}
    models = network.parents[2]
    own = LocalStack(tmp_path_factory.mktemp("triton"), BASE_PORT, machines_dir=models, given={**given, **OTHERS})
    try:
        own.up(services=False)
        yield own.environment()["RADBUS_TRITON_URL"]
    finally:
        own.down()


def compare(tmp_path: Path, pictures: np.ndarray, *options: str) -> tuple[int, str]:
    np.savez(tmp_path / "pictures.npz", IMAGE=pictures)
    words = ["models", "compare", MODEL, "--inputs", str(tmp_path / "pictures.npz"), *options]
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


def test_a_model_gives_the_same_numbers_on_triton_as_in_plain_onnxruntime_and_as_on_a_gpu(
    address, network, pictures, tmp_path
):
    urls = [address, *filter(None, [os.environ.get("RADBUS_TEST_GPU_TRITON_URL")])]

    status, said = compare(tmp_path, pictures, "--onnx", str(network), *(f"--triton={url}" for url in urls))

    assert status == 0, said
    assert said.count("same") == 2 * len(urls)


def test_other_weights_do_not_pass_for_the_same(address, pictures, tmp_path):
    (tmp_path / "other.onnx").write_bytes(small_network(seed=2))

    status, said = compare(tmp_path, pictures, "--onnx", str(tmp_path / "other.onnx"), f"--triton={address}")

    assert status == 1
    assert "DIFFERS" in said


async def test_requests_that_run_in_one_batch_each_get_their_own_answer(address, pictures):
    client = TritonClient(address)
    model = TritonModel(client, MODEL, timeout_s=60, in_flight=8)
    try:
        together = await model.infer({"IMAGE": pictures}, SHAPES)
        alone = await asyncio.gather(*(model.infer({"IMAGE": pictures[k : k + 1]}, SHAPES) for k in (0, 1, 2) * 4))
    finally:
        await client.close()

    for number, answer in enumerate(alone):
        for name in SHAPES:
            assert np.allclose(answer[name][0], together[name][number % 3], atol=1e-5)


async def test_what_is_no_picture_is_refused(address):
    client = TritonClient(address)
    try:
        with pytest.raises(TritonRefusedError, match="IMAGE"):
            await TritonModel(client, MODEL, timeout_s=60).infer({"IMAGE": np.zeros((1, 1, 8, 8), np.float32)}, SHAPES)
    finally:
        await client.close()


async def test_a_model_that_was_unloaded_is_loaded_again_when_it_is_asked_for(address, pictures):
    client = TritonClient(address)
    model = TritonModel(client, MODEL, timeout_s=60)
    try:
        await client.connection.unload_model(MODEL)
        with pytest.raises(TritonUnavailableError):
            await model.infer({"IMAGE": pictures}, SHAPES)
        answer = await model.infer({"IMAGE": pictures}, SHAPES)
    finally:
        await client.close()

    assert answer["VIEW"].shape == (3, 3)


async def test_a_model_whose_process_was_killed_is_seen_and_loaded_anew(address, network):
    client = TritonClient(address)
    stubs = [each for each in psutil.process_iter(["cmdline"]) if _is_stub(each, network)]
    try:
        for stub in stubs:
            stub.kill()
        said = await client.check([MODEL])
        await until(lambda: _is_well(client), timeout_s=90, what="model that runs", every_s=0.5)
    finally:
        await client.close()

    assert stubs
    assert said is not None


async def _is_well(client: TritonClient) -> bool | None:
    return await client.check([MODEL]) is None or None


def _is_stub(process: psutil.Process, network: Path) -> bool:
    words = process.info["cmdline"] or []
    return bool(words) and "triton_python_backend_stub" in words[0] and any(MODEL in word for word in words)
