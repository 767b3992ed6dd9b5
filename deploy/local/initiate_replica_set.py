"""Make one mongod the primary of a replica set of its own; exit 0 as soon as it takes writes.

Usage: initiate_replica_set.py HOST:PORT. Running it again changes nothing.
"""

from __future__ import annotations

import sys
import time

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

_NAME = "rs0"
_NOT_YET_INITIATED = 94
_DEADLINE_S = 8.0


def main(address: str) -> int:
    """Initiate the replica set at an address, or mend its address, and wait until it is writable."""
    client: MongoClient[dict[str, object]] = MongoClient(address, directConnection=True, serverSelectionTimeoutMS=2000)
    try:
        _configure(client, address)
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline:
            if client.admin.command("hello").get("isWritablePrimary"):
                return 0
            time.sleep(0.05)
    except PyMongoError as error:
        sys.stderr.write(f"{address}: {error}\n")
    finally:
        client.close()
    return 1


def _configure(client: MongoClient[dict[str, object]], address: str) -> None:
    wanted = [{"_id": 0, "host": address}]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIATED:
            raise
        client.admin.command("replSetInitiate", {"_id": _NAME, "members": wanted})
        return
    if [member["host"] for member in config["members"]] != [address]:
        # The same data on another port: the node no longer finds itself in its own configuration.
        renamed = {**config, "members": wanted, "version": config["version"] + 1}
        client.admin.command("replSetReconfig", renamed, force=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
