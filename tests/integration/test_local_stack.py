"""The local stack for real: the four servers start, can be used, can be killed, and leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
from minio import Minio
from minio.error import S3Error
from radbus_cli.local import LocalStack, PortTakenError, ProgramNotReadyError, StackError
from radbus_cli.local.leftovers import living_processes

pytestmark = pytest.mark.stack

BASE_PORT = int(os.environ.get("RADBUS_TEST_BASE_PORT", "18000")) + 400
SERVERS = ("epmd", "rabbitmq", "mongo", "s3", "triton")
IDENTITY_CONFIG = """
name: "identity"
backend: "python"
input [{ name: "IN", data_type: TYPE_INT16, dims: [-1] }]
output [{ name: "OUT", data_type: TYPE_INT16, dims: [-1] }]
"""
IDENTITY_MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([
                pb_utils.Tensor("OUT", pb_utils.get_input_tensor_by_name(request, "IN").as_numpy())
            ])
            for request in requests
        ]
"""


def identity_models(folder: Path) -> Path:
    (folder / "identity" / "1").mkdir(parents=True)
    (folder / "identity" / "config.pbtxt").write_text(IDENTITY_CONFIG)
    (folder / "identity" / "1" / "model.py").write_text(IDENTITY_MODEL)
    return folder


def new_stack(folder: Path, base_port: int, **given: str) -> LocalStack:
    return LocalStack(folder / "stack", base_port, workers=1, machines_dir=folder / "models", given=given)


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    """Give a folder whose path is short enough for unix sockets, wherever pytest keeps its own."""
    folder = Path(tempfile.mkdtemp(prefix="radbus-"))
    identity_models(folder / "models")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack(short_folder: Path) -> Iterator[LocalStack]:
    stack = new_stack(short_folder, BASE_PORT)
    try:
        stack.up(services=False)
        yield stack
    finally:
        stack.down()


def infer_identity(stack: LocalStack, values: np.ndarray) -> np.ndarray | None:
    client = grpc_client.InferenceServerClient(stack.environment()["RADBUS_TRITON_URL"])
    tensor = grpc_client.InferInput("IN", list(values.shape), "INT16")
    tensor.set_data_from_numpy(values)
    return client.infer("identity", [tensor], client_timeout=20).as_numpy("OUT")


def object_store(stack: LocalStack) -> tuple[Minio, str]:
    settings = stack.environment()
    client = Minio(
        settings["RADBUS_S3_URL"].removeprefix("http://"),
        access_key=settings["RADBUS_S3_ACCESS_KEY"],
        secret_key=settings["RADBUS_S3_SECRET_KEY"],
        secure=False,
        region="us-east-1",
    )
    return client, settings["RADBUS_S3_BUCKET"]


def listening_ports(first: int, last: int) -> set[int]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            port = int(address.rsplit(":", 1)[1], 16)
            if state == "0A" and first <= port <= last:
                found.add(port)
    return found


def wait_until(condition, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def test_every_server_is_ready_when_up_returns(stack: LocalStack):
    statuses = {each.name: each for each in stack.status()}

    ready = {name for name, each in statuses.items() if each.ready}

    assert ready == set(SERVERS)


def test_a_second_up_keeps_every_program_running(stack: LocalStack):
    before = {each.name: each.pid for each in stack.status()}

    after = {each.name: each.pid for each in stack.up(services=False)}

    assert after == before


def test_a_triton_model_in_python_gives_back_what_it_got(stack: LocalStack):
    values = np.arange(-500, 500, dtype=np.int16)

    output = infer_identity(stack, values)

    assert output is not None
    np.testing.assert_array_equal(output, values)


def test_the_bucket_is_there_and_others_are_not_made_by_mistake(stack: LocalStack):
    client, bucket = object_store(stack)

    with pytest.raises(S3Error) as refused:
        client.fput_object("another", "x", __file__)

    assert client.bucket_exists(bucket)
    assert refused.value.code == "NoSuchBucket"


def test_the_brokers_tools_find_the_stacks_own_node(stack: LocalStack):
    tool = "rabbitmqctl"

    printed = stack.rabbitmq_tool(tool, "--formatter", "json", "status")

    status = json.loads(printed)
    assert [listener["port"] for listener in status["listeners"] if listener["protocol"] == "amqp"] == [BASE_PORT]
    assert status["disk_free_limit"] == 50_000_000
    if os.environ.get("RADBUS_RABBITMQ") == "4.3":
        assert status["rabbitmq_version"].startswith("4.")


def test_every_port_of_the_stack_is_bound_to_loopback_only(stack: LocalStack):
    loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")

    lines = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    own = [line for line in lines if BASE_PORT <= int(line.rsplit(":", 1)[1], 16) < BASE_PORT + 100]

    assert own
    assert [line for line in own if not line.startswith(loopback)] == []


@pytest.mark.parametrize("name", ["rabbitmq", "mongo", "s3", "triton"])
def test_a_killed_server_stays_dead_until_it_is_started_and_is_then_ready_again(stack: LocalStack, name: str):
    stack.kill(name)
    killed = next(each for each in stack.status() if each.name == name)

    stack.start(name)
    stack.wait_until_ready(name)

    assert (killed.state, killed.pid, killed.ready) == ("STOPPED", 0, False)
    assert next(each for each in stack.status() if each.name == name).ready


def test_a_killed_server_comes_back_by_itself_when_a_restart_is_asked_for(stack: LocalStack):
    before = next(each.pid for each in stack.status() if each.name == "s3")

    stack.kill("s3", restart=True)

    wait_until(lambda: next(e.ready and e.pid != before for e in stack.status() if e.name == "s3"))


def test_the_front_is_started_and_stopped_like_the_rest_and_would_be_found_after_a_crash(stack: LocalStack):
    stack.start("front")
    stack.wait_until_ready("front")
    front = next(each for each in stack.status() if each.name == "front")
    found = living_processes(stack.layout.root)
    stack.stop("front")

    assert front.pid in found
    assert listening_ports(front.port, front.port) == set()


def test_a_frozen_server_is_not_ready(stack: LocalStack):
    stack.kill("rabbitmq", signal.SIGSTOP)

    frozen = next(each for each in stack.status() if each.name == "rabbitmq")

    stack.kill("rabbitmq", signal.SIGCONT)
    stack.wait_until_ready("rabbitmq")
    assert not frozen.ready


def test_data_survives_down_and_up_and_the_death_of_the_supervisor(short_folder: Path, stack: LocalStack):
    client, bucket = object_store(stack)
    client.fput_object(bucket, "kept", __file__)
    supervisor = int((stack.layout.run_folder / "supervisord.pid").read_text())

    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: supervisor not in living_processes(stack.layout.root))
    new_stack(short_folder, BASE_PORT).up(services=False)
    kept_by_crash = client.stat_object(bucket, "kept").size
    stack.down()
    stack.up(services=False)

    assert kept_by_crash == client.stat_object(bucket, "kept").size == Path(__file__).stat().st_size


def test_two_stacks_run_beside_each_other(short_folder: Path, stack: LocalStack):
    other = LocalStack(short_folder / "other", BASE_PORT + 100, machines_dir=short_folder / "models", given={})

    ready = {each.name for each in other.up(services=False) if each.ready}
    other.down()

    assert ready == set(SERVERS)
    assert all(each.ready for each in stack.status() if each.name in SERVERS)
    assert living_processes(other.layout.root) == []


def test_down_leaves_no_process_and_no_open_port(stack: LocalStack):
    ran = living_processes(stack.layout.root)

    stack.down()

    assert ran
    assert living_processes(stack.layout.root) == []
    assert listening_ports(BASE_PORT, BASE_PORT + 99) == set()
    assert not stack.layout.socket.exists()


def test_data_of_a_stack_that_is_down_can_be_wiped(short_folder: Path):
    stack = new_stack(short_folder, BASE_PORT)
    stack.down()

    stack.wipe()

    assert not stack.layout.root.exists()


def test_a_port_in_use_is_named_and_nothing_is_started(short_folder: Path):
    stack = LocalStack(short_folder / "taken", BASE_PORT + 200, machines_dir=short_folder / "models", given={})

    with socket.create_server(("127.0.0.1", stack.layout.port("mongo"))), pytest.raises(PortTakenError) as refused:
        stack.up(services=False)

    assert str(stack.layout.port("mongo")) in str(refused.value)
    assert living_processes(stack.layout.root) == []


def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log(short_folder: Path):
    models = identity_models(short_folder / "broken")
    (models / "identity" / "1" / "model.py").write_text("raise ImportError('no such weights')\n")
    given = dict.fromkeys(("RADBUS_AMQP_URL", "RADBUS_MONGO_URL", "RADBUS_S3_URL"), "given")
    stack = LocalStack(short_folder / "fails", BASE_PORT + 300, machines_dir=models, given=given)

    with pytest.raises(ProgramNotReadyError) as failed:
        stack.up(services=False, timeout_s=60)
    stack.down()

    assert str(failed.value).startswith("triton ended while starting")
    assert "no such weights" in str(failed.value)


def test_a_running_stack_is_not_wiped(short_folder: Path):
    given = dict.fromkeys(("RADBUS_AMQP_URL", "RADBUS_MONGO_URL", "RADBUS_TRITON_URL"), "given")
    stack = LocalStack(short_folder / "running", BASE_PORT + 400, given=given)
    stack.up(services=False)

    with pytest.raises(StackError, match="running"):
        stack.wipe()

    stack.down()
    assert stack.layout.root.exists()
