"""Start the worker."""

from __future__ import annotations

from radbus_runtime.service import main

from radbus_worker.app import create_app
from radbus_worker.settings import WorkerSettings

if __name__ == "__main__":  # the process pool's children import this module too
    main("worker", WorkerSettings, create_app)
