"""The local stack's description: what would run, where, and with which settings; nothing is started here."""

from __future__ import annotations

import shlex
from configparser import RawConfigParser
from pathlib import Path

import pytest
from radbus_cli.local import LocalStack, StackError
from radbus_cli.local.front import configuration
from radbus_cli.local.layout import Layout
from radbus_cli.local.mongo import mongo
from radbus_cli.local.programs import Phase, Program
from radbus_cli.local.supervisor_configuration import configuration_file, write_configuration

EXTERNAL = {
    "RADBUS_AMQP_URL": "amqp://ana:s%2Fcret@bus.example:5672/site%2F1",
    "RADBUS_MONGO_URL": "mongodb://db.example/",
    "RADBUS_S3_URL": "https://s3.example",
    "RADBUS_TRITON_URL": "gpu.example:8001",
}


def stack(base_port: int = 17000, *, workers: int = 2, given: dict[str, str] | None = None) -> LocalStack:
    return LocalStack(Path("/srv/radbus"), base_port, workers=workers, given=EXTERNAL if given is None else given)


def test_no_two_programs_of_a_stack_share_a_port():
    programs = LocalStack(Path("/srv/radbus"), workers=8, replicas=4, given=EXTERNAL).programs()

    ports = [port for program in programs for port in program.ports]

    assert len(ports) == len(set(ports))


def test_each_of_several_replicas_is_a_program_and_their_services_name_means_all():
    replicated = LocalStack(Path("/srv/radbus"), replicas=2, given=EXTERNAL)

    names = [program.name for program in replicated.programs()]

    assert names[1:9] == [f"{name}-{n}" for name in ("ingest", "router", "scheduler", "results") for n in (0, 1)]
    assert replicated.replicas_of("ingest") == ("ingest-0", "ingest-1")
    assert replicated.replicas_of("ingest-1") == ("ingest-1",)
    assert replicated.layout.port("ingest-0") == replicated.layout.port("ingest")


def test_the_front_knows_every_replica():
    layout = Layout(Path("/srv/radbus"), 17000)

    written = configuration(layout, replicas=3)

    assert all(f"server 127.0.0.1:{layout.port(f'ingest-{n}')} " in written for n in range(3))


def test_more_replicas_than_there_are_ports_for_are_refused():
    with pytest.raises(StackError, match="4 replicas"):
        Layout(Path("/srv/radbus"), 17000).port("ingest-4")


def test_the_ports_of_two_stacks_a_hundred_apart_are_distinct():
    names = ("amqp", "epmd", "mongo", "s3", "s3_admin_grpc", "triton_http", "front", "ingest", "results-3", "worker-31")
    first, second = Layout(Path("/a"), 17000), Layout(Path("/b"), 17100)

    shared = {first.port(name) for name in names} & {second.port(name) for name in names}

    assert shared == set()


@pytest.mark.parametrize("base_port", [80, 55001, 70000])
def test_a_base_port_that_leaves_no_room_is_refused(base_port: int):
    root = Path("/srv/radbus")

    with pytest.raises(StackError, match=str(base_port)):
        Layout(root, base_port)


def test_a_root_too_long_for_a_unix_socket_is_refused():
    root = Path("/" + "deep/" * 20)

    with pytest.raises(StackError, match="characters"):
        Layout(root, 17000)


def test_a_server_whose_url_is_given_is_not_started():
    given = EXTERNAL

    names = {program.name for program in stack(given=given).programs()}

    assert names == {"front", "ingest", "router", "scheduler", "results", "worker-0", "worker-1"}


def test_mongodb_never_logs_a_command_for_being_slow_since_it_would_log_the_headers_in_it():
    layout = Layout(Path("/srv/radbus"), 17000)

    command = mongo(layout).command

    assert int(command[command.index("--slowms") + 1]) > 10**9


def test_a_given_url_is_passed_on_to_the_services():
    given = EXTERNAL

    environment = stack(given=given).environment()

    assert {name: environment[name] for name in given} == given
    assert environment["RADBUS_S3_PUBLIC_URL"] == "https://s3.example"


def test_without_given_urls_the_services_are_told_of_the_stacks_own_servers():
    base_port = 18000

    environment = stack(base_port, given={}).environment()

    assert environment["RADBUS_AMQP_URL"] == "amqp://guest:guest@127.0.0.1:18000/"
    assert environment["RADBUS_MONGO_URL"] == "mongodb://127.0.0.1:18003/?replicaSet=rs0&directConnection=true"
    assert environment["RADBUS_S3_URL"] == environment["RADBUS_S3_PUBLIC_URL"] == "http://127.0.0.1:18004"
    assert environment["RADBUS_TRITON_URL"] == "127.0.0.1:18006"


def test_an_empty_url_counts_as_not_given():
    given = {"RADBUS_S3_URL": ""}

    environment = stack(given=given).environment()

    assert environment["RADBUS_S3_URL"] == "http://127.0.0.1:17004"


def test_each_worker_has_a_name_and_a_port_of_its_own():
    programs = stack(workers=3).programs()

    workers = {program.name: program.ports[0] for program in programs if program.name.startswith("worker-")}

    assert workers == {"worker-0": 17060, "worker-1": 17061, "worker-2": 17062}


def test_more_workers_than_there_are_ports_are_refused():
    too_many = stack(workers=33)

    with pytest.raises(StackError, match="worker-32"):
        too_many.programs()


def test_a_value_reaches_a_program_unchanged_whatever_characters_it_has(tmp_path: Path):
    layout = Layout(tmp_path, 17000)
    layout.run_folder.mkdir()
    values = {"URL": EXTERNAL["RADBUS_AMQP_URL"], "ODD": "a b'c\"d#e;f=g,h"}
    program = Program(
        name="x",
        phase=Phase.SERVICE,
        command=("true",),
        ports=(1,),
        folder=tmp_path,
        is_ready=bool,
        environment=values,
    )

    write_configuration(layout, [program])

    written = RawConfigParser()
    written.read(configuration_file(layout))
    arguments = shlex.split(written["program:x"]["command"] % {})
    assert arguments[1:] == ["ODD=a b'c\"d#e;f=g,h", f"URL={EXTERNAL['RADBUS_AMQP_URL']}", "true"]


def test_the_configuration_with_the_keys_in_it_is_readable_by_its_owner_alone(tmp_path: Path):
    layout = Layout(tmp_path, 17000)
    layout.run_folder.mkdir()

    write_configuration(layout, [])

    assert configuration_file(layout).stat().st_mode & 0o077 == 0
