"""Starts the router."""

from __future__ import annotations

from radbus_runtime.service import main

from radbus_router.app import create_app
from radbus_router.settings import RouterSettings

if __name__ == "__main__":
    main("router", RouterSettings, create_app)
