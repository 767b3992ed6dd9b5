"""Make a replica set of the mongods at some addresses; print its primary as soon as there is one that takes writes.

Usage: initiate_replica_set.py HOST:PORT [HOST:PORT ...]. Running it again changes nothing.
"""

from __future__ import annotations

import sys
import time

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

_NAME = "rs0"
_NOT_YET_INITIATED = 94
_DEADLINE_S = 8.0

_Client = MongoClient[dict[str, object]]


def main(addresses: list[str]) -> int:
    """Initiate the replica set, or mend its one address, and wait until it is writable."""
    clients: list[_Client] = [
        MongoClient(address, directConnection=True, serverSelectionTimeoutMS=2000) for address in addresses
    ]
    try:
        _configure(clients[0], addresses)
    except PyMongoError as error:
        if len(addresses) == 1:
            return _failed(addresses[0], error)
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        for address, client in zip(addresses, clients, strict=True):
            if _is_primary(client):
                sys.stdout.write(f"{address}\n")
                return 0
        time.sleep(0.05)
    return 1


def _is_primary(client: _Client) -> bool:
    try:
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False


def _configure(client: _Client, addresses: list[str]) -> None:
    wanted = [{"_id": number, "host": address} for number, address in enumerate(addresses)]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIATED:
            raise
        client.admin.command("replSetInitiate", {"_id": _NAME, "members": wanted})
        return
    if [member["host"] for member in config["members"]] != addresses:
        # The same data on another port: the node no longer finds itself in its own configuration.
        renamed = {**config, "members": wanted, "version": config["version"] + 1}
        client.admin.command("replSetReconfig", renamed, force=True)


def _failed(address: str, error: PyMongoError) -> int:
    sys.stderr.write(f"{address}: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
