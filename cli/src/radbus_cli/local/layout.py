"""Where everything of one local stack lies: its ports, its folders, and what it takes from the repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radbus_cli.local.errors import StackError

DEFAULT_BASE_PORT = 17000
HOST = "127.0.0.1"
MAX_WORKERS = 32
# A unix socket's path may have 107 characters, and supervisord adds its pid to it.
_MAX_ROOT_CHARACTERS = 80
_WORKER_OFFSET = 60
_LOWEST_BASE_PORT = 1024
_HIGHEST_BASE_PORT = 55000
_OFFSETS = {
    "amqp": 0,
    "amqp_distribution": 1,
    "epmd": 2,
    "mongo": 3,
    "s3": 4,
    "triton_http": 5,
    "triton_grpc": 6,
    "triton_metrics": 7,
    "front": 8,
    "s3_metrics": 9,
    "ingest": 10,
    "router": 11,
    "scheduler": 12,
    "results": 13,
    "s3_grpc": 20,
    "s3_master": 21,
    "s3_master_grpc": 22,
    "s3_volume": 23,
    "s3_volume_grpc": 24,
    "s3_filer": 25,
    "s3_filer_grpc": 26,
    "s3_admin": 27,
    # A replica set of three, in tests.
    "mongo-0": 40,
    "mongo-1": 41,
    "mongo-2": 42,
    # SeaweedFS has a client inside that looks for it nowhere but 10000 above the other.
    "s3_admin_grpc": 10027,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The ports and folders of one stack; two stacks with other roots and base ports run beside each other."""

    root: Path
    base_port: int

    def __post_init__(self) -> None:
        if not _LOWEST_BASE_PORT <= self.base_port <= _HIGHEST_BASE_PORT:
            raise StackError(
                f"The base port {self.base_port} is not between {_LOWEST_BASE_PORT} and {_HIGHEST_BASE_PORT}."
            )
        if not self.root.is_absolute():
            raise StackError(f"The root {self.root} is not an absolute path.")
        if len(str(self.root)) > _MAX_ROOT_CHARACTERS:
            raise StackError(
                f"The root {self.root} is longer than {_MAX_ROOT_CHARACTERS} characters: its sockets would not fit."
            )

    def port(self, name: str) -> int:
        """Give the port of a server, a service (`ingest`), a worker (`worker-0`), or the one before them (`front`)."""
        if name.startswith("worker-"):
            return self.base_port + _WORKER_OFFSET + worker_number(name)
        return self.base_port + _OFFSETS[name]

    def folder(self, name: str) -> Path:
        """Give the data folder of a program; it is made when the stack starts."""
        return self.root / name

    def log(self, name: str) -> Path:
        """Give the log file of a program."""
        return self.root / "logs" / f"{name}.log"

    @property
    def run_folder(self) -> Path:
        """Give the folder of the sockets, the pid file and the generated configuration."""
        return self.root / "run"

    @property
    def socket(self) -> Path:
        """Give the unix socket of the supervisor."""
        return self.run_folder / "s.sock"


def worker_number(name: str) -> int:
    """Read the number in a worker's name, such as `worker-3`."""
    number = int(name.removeprefix("worker-"))
    if not 0 <= number < MAX_WORKERS:
        raise StackError(f"A stack has at most {MAX_WORKERS} workers; {name} is beyond that.")
    return number


def repository() -> Path:
    """Give the root of the repository that this code is run from."""
    return Path(__file__).resolve().parents[4]


def default_root() -> Path:
    """Give the folder of the stack that `radbus up` starts."""
    return repository() / ".local" / "stack"
