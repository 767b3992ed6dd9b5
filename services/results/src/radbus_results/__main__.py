"""Starts the results service."""

from __future__ import annotations

from radbus_runtime.service import main

from radbus_results.app import create_app
from radbus_results.settings import ResultsSettings

if __name__ == "__main__":
    main("results", ResultsSettings, create_app)
