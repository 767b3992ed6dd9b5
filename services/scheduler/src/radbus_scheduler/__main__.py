"""Start the scheduler."""

from __future__ import annotations

from radbus_runtime.service import main

from radbus_scheduler.app import create_app
from radbus_scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    main("scheduler", SchedulerSettings, create_app)
