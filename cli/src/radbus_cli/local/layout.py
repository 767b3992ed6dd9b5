"""Where everything of one local stack lies: its ports, its folders, and what it takes from the repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radbus_cli.local.errors import StackError

DEFAULT_BASE_PORT = 17000
HOST = "127.0.0.1"
MAX_WORKERS = 32
MAX_REPLICAS = 4
SINGLE_SERVICES = ("ingest", "router", "scheduler", "results")
# A unix socket's path may have 107 characters, and supervisord adds its pid to it.
_MAX_ROOT_CHARACTERS = 80
_WORKER_OFFSET = 60
# Of the second replica of the first service; a service has its replicas one after another.
_REPLICA_OFFSET = 44
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
        """Give the port of a server, a service (`ingest`), one of its replicas (`ingest-1`), a worker, or `front`.

        That of a service is its first replica's.
        """
        if name.startswith("worker-"):
            return self.base_port + _WORKER_OFFSET + worker_number(name)
        service, _, number = name.partition("-")
        if service in SINGLE_SERVICES and number:
            return self._replica_port(service, int(number))
        return self.base_port + _OFFSETS[name]

    def _replica_port(self, service: str, number: int) -> int:
        if not 0 <= number < MAX_REPLICAS:
            raise StackError(f"A stack has at most {MAX_REPLICAS} replicas; {service}-{number} is beyond that.")
        if number == 0:
            return self.port(service)
        return self.base_port + _REPLICA_OFFSET + SINGLE_SERVICES.index(service) * (MAX_REPLICAS - 1) + number - 1

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


def replica_names(service: str, replicas: int) -> tuple[str, ...]:
    """Name the programs of a service: `ingest`, or `ingest-0`, `ingest-1` and so on where there are several."""
    return (service,) if replicas == 1 else tuple(f"{service}-{number}" for number in range(replicas))


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
