"""How RabbitMQ starts on one machine: a node of its own on loopback, beside any other node there."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from radbus_cli.local import readiness
from radbus_cli.local.errors import ServerMissingError, StackError
from radbus_cli.local.layout import HOST, Layout, repository
from radbus_cli.local.programs import Phase, Program

RELEASE_VARIABLE = "RADBUS_RABBITMQ"
_OF_THE_MACHINE = "3.10"
_IN_A_FOLDER = "4.3"

# Erlang must neither listen on other interfaces nor spin while it waits.
_LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"
_NO_BUSY_WAITING = "+sbwt none +sbwtdcpu none +sbwtdio none"


def epmd(layout: Layout) -> Program:
    """Describe Erlang's name server, supervised so that RabbitMQ leaves none behind."""
    port = layout.port("epmd")
    return Program(
        name="epmd",
        phase=Phase.NAME_SERVER,
        command=(*_erlang_command(layout, "epmd"), "-port", str(port), "-address", HOST),
        ports=(port,),
        folder=layout.folder("rabbitmq"),
        is_ready=partial(readiness.epmd_answers, port),
    )


def rabbitmq(layout: Layout) -> Program:
    """Describe the broker, a node of its own beside any other on the machine."""
    folder, port = layout.folder("rabbitmq"), layout.port("amqp")
    return Program(
        name="rabbitmq",
        phase=Phase.SERVER,
        command=rabbitmq_command(layout, "rabbitmq-server"),
        ports=(port, layout.port("amqp_distribution")),
        folder=folder,
        is_ready=partial(readiness.amqp_greets, port),
        environment=rabbitmq_environment(layout),
        stop_wait_s=30,
    )


def rabbitmq_environment(layout: Layout) -> dict[str, str]:
    """Give the variables with which the broker and its tools (`rabbitmqctl`) find this stack's node."""
    folder = layout.folder("rabbitmq")
    return {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(layout.port("epmd")),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": "radbus@localhost",
        "RABBITMQ_DIST_PORT": str(layout.port("amqp_distribution")),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        # No release reads the data of one so much older.
        "RABBITMQ_MNESIA_BASE": str(folder / ("data" if _machine() is None else f"data-{_IN_A_FOLDER}")),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_LOOPBACK_ONLY} {_NO_BUSY_WAITING}",
        "RABBITMQ_CTL_ERL_ARGS": _LOOPBACK_ONLY,
    }


def write_rabbitmq_files(layout: Layout) -> None:
    """Write the broker's configuration files."""
    folder = layout.folder("rabbitmq")
    folder.mkdir(parents=True, exist_ok=True)
    settings = (
        f"listeners.tcp.1 = {HOST}:{layout.port('amqp')}",
        "disk_free_limit.absolute = 50MB",
        # The default of 512 MB a segment of the quorum queues' log is for servers.
        "raft.wal_max_size_bytes = 33554432",
        "log.console = true",
        "log.console.level = info",
        "log.file = false",
        # Each probe of the readiness is a connection; only what goes wrong with one is worth a line.
        "log.connection.level = error",
    )
    (folder / "rabbitmq.conf").write_text("\n".join(settings) + "\n")
    (folder / "rabbitmq-env.conf").write_text("")
    (folder / "advanced.config").write_text("[].\n")
    (folder / "enabled_plugins").write_text("[].\n")


def rabbitmq_command(layout: Layout, name: str) -> tuple[str, ...]:
    """Give the command of the broker or of one of its tools, which see the stack's folder of the broker."""
    machine = _machine()
    if machine is None:
        return (str(_script(name)),)
    return _in_folder(layout, machine, f"/usr/lib/rabbitmq/bin/{name}")


def _script(name: str) -> Path:
    """Find one of RabbitMQ's scripts; what a distribution puts on the PATH is often a wrapper that changes the user."""
    folders = [Path(os.environ.get("RADBUS_RABBITMQ_BIN", "/usr/lib/rabbitmq/bin"))]
    if on_path := shutil.which(name):
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise ServerMissingError(f"RabbitMQ's {name} was not found: run `make install`, or set RADBUS_AMQP_URL.")


def _erlang_command(layout: Layout, name: str) -> tuple[str, ...]:
    machine = _machine()
    if machine is not None:
        return _in_folder(layout, machine, name)
    if found := shutil.which(name):
        return (found,)
    raise ServerMissingError(f"Erlang's {name} was not found: run `make install`, or set RADBUS_AMQP_URL.")


def _in_folder(layout: Layout, machine: Path, program: str) -> tuple[str, ...]:
    script = repository() / "deploy" / "local" / "in_folder.sh"
    return (str(script), str(machine), str(layout.folder("rabbitmq")), program)


def _machine() -> Path | None:
    """Give the folder in which the newer RabbitMQ is installed as on a machine of its own; None for this machine's."""
    release = os.environ.get(RELEASE_VARIABLE) or _OF_THE_MACHINE
    if release == _OF_THE_MACHINE:
        return None
    folder = repository() / ".local" / f"rabbitmq-{release}"
    if release != _IN_A_FOLDER:
        raise StackError(f"expected {RELEASE_VARIABLE} to be {_OF_THE_MACHINE} or {_IN_A_FOLDER}, not {release!r}.")
    if not folder.is_dir():
        raise ServerMissingError(
            f"RabbitMQ {release} is not in {folder}: run `{RELEASE_VARIABLE}={release} make install`."
        )
    return folder
